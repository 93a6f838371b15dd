"""The event log: publish and follow, through RabbitMQ or Redis, and a broadcast beside it."""
