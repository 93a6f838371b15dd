"""A Datasette of made-up towns, which `python make_towns.py` has made."""

from __future__ import annotations

from datasette.app import Datasette

app = Datasette(["towns.db"]).app()
