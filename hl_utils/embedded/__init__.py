"""PostgreSQL, Redis and the API from one command, with nothing installed and nothing opened.

The servers listen on unix sockets in a private directory, keep their data in HLFAST_HOME and
run as an unprivileged user where root starts them.
"""

from hl_utils.embedded.backup import backup, restore
from hl_utils.embedded.clean import clean
from hl_utils.embedded.stack import up

__all__ = ["backup", "clean", "restore", "up"]
