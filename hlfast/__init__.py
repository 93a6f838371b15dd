"""A social network's backend built to be fast."""
