"""Sockets: who is connected, who cares about whom, event -> frame, the replayable history."""
