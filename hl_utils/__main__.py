"""`python -m hl_utils VERB` is `hlfast VERB`."""

import sys

from hl_utils.command import main

sys.exit(main())
