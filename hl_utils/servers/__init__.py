"""Private instances of every real server, for `up`, the tests and the benchmarks alike.

Each listens on a unix socket in a private directory, or on a loopback port that was free, and runs
as an unprivileged user where root starts it.
"""
