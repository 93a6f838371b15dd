"""A social network's backend built to be fast."""

# Also in pyproject.toml, where what builds a package reads it.
VERSION = "0.1.0"
