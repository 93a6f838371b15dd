"""`hlfast check`: what is set wrong, found before users do."""

from hl_utils.check.databases import Processes
from hl_utils.check.run import check

__all__ = ["Processes", "check"]
