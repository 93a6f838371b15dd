"""RFC 6455 over picows: connections, frames and their limits; it knows nothing of users."""
