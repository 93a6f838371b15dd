"""The tests of dialogs, on Citus: pytest finds them here with this directory's `api`."""

from __future__ import annotations

from tests.dialogs.test_behind import *  # noqa: F403
from tests.dialogs.test_list import *  # noqa: F403
from tests.dialogs.test_messages import *  # noqa: F403
from tests.dialogs.test_paging import *  # noqa: F403
from tests.dialogs.test_reading import *  # noqa: F403
from tests.races.test_dialogs import *  # noqa: F403
