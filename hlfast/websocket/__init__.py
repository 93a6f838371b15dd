"""RFC 6455 over picows, and event streams beside it: connections and their limits; no users."""
