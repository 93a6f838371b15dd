"""The laboratory of a running service: its numbers, and its switches of tuning."""
