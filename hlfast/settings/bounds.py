"""Every bound and deadline of the service, each group of them a class. Times are seconds."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Requests(BaseModel):
    """Bounds of the HTTP API: bodies, connections, requests in progress."""

    body_bytes_max: int = Field(
        65536, ge=1024, description="Bytes of a request's body; beyond: 413."
    )
    bodies_bytes_max: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of memory for the response cache of one process.",
    )
    friends_max: int = Field(10_000, ge=1, description="Friends of one user; beyond: 409.")
    feed_posts_max: int = Field(1000, ge=1, description="Newest posts that a feed reaches back to.")
    connections_max: int = Field(
        4096, ge=1, description="Open client connections of one API process."
    )
    http2: bool = Field(
        False,
        description="Take HTTP/2 without TLS, too. No bound counts its streams: only for a "
        "proxy, on a port that nobody else reaches.",
    )
    head_timeout_s: float = Field(
        10.0,
        gt=0,
        description="Time for a request's head: of a connection's first request since the "
        "connection was made, of later ones since their first byte.",
    )
    body_timeout_s: float = Field(
        10.0, gt=0, description="Time for a request's whole body; beyond: 408."
    )
    answer_timeout_s: float = Field(30.0, gt=0, description="Time for a client to take the answer.")
    idle_timeout_s: float = Field(
        75.0,
        ge=1,
        description="Longest pause between two requests of a connection; longer than any proxy "
        "in front of the API keeps one.",
    )
    requests_max: int = Field(
        256,
        ge=1,
        description="Requests of one API process in progress; beyond, admission control answers "
        "503.",
    )
    user_requests_max: int = Field(
        64, ge=1, description="Requests of one user in progress in one API process; beyond: 429."
    )
    refusals_per_s_max: int = Field(
        2000,
        ge=1,
        description="Answers of 503 by admission control in a second; further ones, and their "
        "clients, wait.",
    )


class Databases(BaseModel):
    """Bounds of the databases: connections, statements, replicas, batches."""

    database_pool_size: int = Field(
        8, ge=1, le=1000, description="Connections of one process to each database."
    )
    database_queue_max: int = Field(
        2048, ge=1, description="Statements of one process that wait for a connection; beyond: 503."
    )
    database_timeout_s: float = Field(
        10.0,
        gt=0,
        description="Longest wait for one statement, the wait for a connection included.",
    )
    replica_wait_s: float = Field(
        0.02,
        ge=0,
        description="Longest wait for a replica to replay what a read must see; then the "
        "primary answers.",
    )
    replica_timeout_s: float = Field(
        1.0, gt=0, description="Silence after which a replica is left out."
    )
    replica_retry_s: float = Field(
        1.0,
        gt=0,
        description="Pause before a lost replica is tried again, and between two looks at an "
        "idle one.",
    )
    batch_max: int = Field(512, ge=1, description="Keys of one batch of reads.")
    batches_max: int = Field(
        2,
        ge=1,
        description="Batches of one kind of read under way at once; further reads wait and "
        "share the next batch.",
    )
    sends_batch_max: int = Field(
        128, ge=1, description="Messages of one batch, each to another dialog."
    )
    sends_batches_max: int = Field(
        2,
        ge=1,
        description="Batches of messages under way at once; further messages wait and share the "
        "next batch.",
    )


class EventLog(BaseModel):
    """Redis and the event log: deadlines, retention, batches of events."""

    redis_timeout_s: float = Field(0.25, gt=0, description="Longest wait for Redis.")
    redis_retry_s: float = Field(
        1.0, gt=0, description="Pause before Redis is asked again after a failure."
    )
    events_timeout_s: float = Field(
        5.0, gt=0, description="Longest wait for the event log to confirm or answer."
    )
    events_retry_s: float = Field(
        1.0, gt=0, description="Longest pause before the event log is asked again after a failure."
    )
    events_kept_bytes: int = Field(
        256 * 1024 * 1024, ge=65536, description="Bytes of events that the log retains, about."
    )
    events_kept_s: int = Field(
        3600, ge=1, description="Age up to which the log retains events, about."
    )
    events_batch_max: int = Field(
        512, ge=1, description="Events of one batch, which is one entry of the log."
    )
    events_batch_bytes_max: int = Field(
        262_144,
        ge=1024,
        description="Bytes of the events of one batch, unless one event alone is longer.",
    )
    events_batches_max: int = Field(
        8,
        ge=1,
        description="Batches of events that await their confirm; further events wait and share "
        "the next batch. On Redis it is one.",
    )
    events_queue_max: int = Field(
        10_000, ge=1, description="Events of one process that are not confirmed yet; beyond: 503."
    )


class Websockets(BaseModel):
    """The websocket node: connections, frames, slow readers."""

    ws_host: str = Field("127.0.0.1", description="Address that the websocket server listens on.")
    ws_name: str = Field(
        "",
        description="Name of the websocket node, unique among the nodes. Empty: made of host, "
        "port and chance.",
    )
    ws_backlog: int = Field(
        4096, ge=1, description="Connections of a websocket node that are not accepted yet."
    )
    ws_connections_max: int = Field(20_000, ge=1, description="Connections of one websocket node.")
    ws_handshake_timeout_s: float = Field(
        5.0, gt=0, description="Time for the request of a websocket's handshake."
    )
    ws_handshakes_max: int = Field(
        4096,
        ge=1,
        description="Connections of a websocket node whose handshake was not answered yet; "
        "beyond, the address that has most of them loses the oldest.",
    )
    ws_user_connections_max: int = Field(
        100,
        ge=1,
        description="Connections of one user to one websocket node; one more is closed with "
        "4429. On a full node the user with most gives way to others.",
    )
    ws_dismissed_max: int = Field(
        1000,
        ge=1,
        description="Connections that were closed at once, as for a bad token, and whose "
        "clients have not hung up; beyond, the oldest is cut.",
    )
    ws_frame_bytes_max: int = Field(
        16_384, ge=256, description="Bytes of a client's message; beyond: closed with 1009."
    )
    ws_frames_max: int = Field(
        100,
        ge=1,
        description="Frames of one client in HLFAST_WS_FRAMES_WINDOW_S; beyond: closed with 4429.",
    )
    ws_frames_window_s: float = Field(
        10.0, gt=0, description="Window in which a client's frames are counted."
    )
    ws_queue_bytes_max: int = Field(
        1_048_576,
        ge=4096,
        description="Bytes that wait for one slow reader; beyond: closed with 1013.",
    )
    ws_behind_s: float = Field(
        10.0, gt=0, description="Time that a reader may be behind; beyond: closed with 1013."
    )
    ws_join_delay_s: float = Field(
        0.005, ge=0, description="Time in which frames to one busy socket share a write."
    )
    ws_ping_s: float = Field(
        25.0,
        gt=0,
        description="Silence of a socket before a ping, up to a fourth longer, and the wait for "
        "its answer.",
    )
    ws_comment_s: float = Field(
        15.0,
        gt=0,
        description="Pause between two comments in an event stream, which keep it open.",
    )


class Live(BaseModel):
    """What a websocket node holds for resumes, presence, and the outbox behind it."""

    tail_events_max: int = Field(
        100_000, ge=1, description="Events of a node's history, which replays come from."
    )
    tail_bytes_max: int = Field(
        128 * 1024 * 1024,
        ge=1024,
        description="Bytes of a node's history: about 1 KB for each event, and its frames.",
    )
    tail_s: float = Field(
        600.0, gt=0, description="Age up to which events stay in a node's history."
    )
    presence_heartbeat_s: float = Field(
        2.0,
        gt=0,
        description="Pause between two heartbeats of a node; after 3.5 of them in silence it "
        "counts as gone.",
    )
    presence_grace_s: float = Field(
        5.0, ge=0, description="Time that a user without a socket stays online."
    )
    presence_join_s: float = Field(
        0.2, gt=0, description="Time in which comings and goings share a frame."
    )
    outbox_sweep_s: float = Field(
        2.0,
        gt=0,
        description="Pause between two looks of the sweeper for outbox rows that a dead process "
        "left.",
    )
    outbox_age_s: float = Field(
        8.0, gt=0, description="Age from which the sweeper takes an outbox row for left."
    )
    friend_events_max: int = Field(
        10,
        ge=1,
        description="Friend requests and withdrawals of one pair in "
        "HLFAST_FRIEND_EVENTS_WINDOW_S that are events of their own.",
    )
    friend_events_window_s: float = Field(
        3.0,
        gt=0,
        description="Window in which friend requests and withdrawals of a pair are counted; "
        "further ones merge into the latest, which is published at its end.",
    )
    broadcast_queue_max: int = Field(
        1024,
        ge=1,
        description="Broadcasts of presence and typing that wait on either side; beyond, the "
        "oldest is dropped.",
    )


class Stopping(BaseModel):
    """How a process stops without losing a request."""

    drain_notice_s: float = Field(
        2.0,
        ge=0,
        description="Time that the readiness of a stopping API is 503 before it closes its "
        "port; longer than HAProxy's checks take.",
    )
    drain_timeout_s: int = Field(
        6,
        ge=1,
        description="Time for the requests in progress when the API stops; a websocket node "
        "closes its sockets in half of it.",
    )


class Accounts(BaseModel):
    """Tokens, sessions, logins and password hashes."""

    access_token_s: int = Field(900, ge=60, description="Life of an access token.")
    refresh_token_s: int = Field(30 * 86400, ge=60, description="Life of a refresh token.")
    refresh_grace_s: float = Field(
        10.0,
        ge=0,
        description="Time in which a used refresh token still gives the same next one; later it "
        "ends the session.",
    )
    sessions_max: int = Field(
        100, ge=1, description="Sessions of one user; beyond, the one renewed longest ago ends."
    )
    revocation_check_s: float = Field(
        20.0,
        ge=0,
        le=60,
        description="Age at which the account status of a remembered user is looked up again.",
    )
    remembered_tokens_max: int = Field(
        65536, ge=1, description="Verified tokens remembered in memory."
    )
    login_failures_max: int = Field(
        10,
        ge=1,
        description="Failed logins of one name from one address in HLFAST_LOGIN_WINDOW_S, and, "
        "counted apart, wrong old passwords of one user; beyond: 429.",
    )
    login_window_s: int = Field(300, ge=1, description="Window in which failed logins are counted.")
    password_hash_threads: int = Field(
        2, ge=1, description="Passwords that one process hashes at once."
    )
    password_hash_queue_max: int = Field(
        64, ge=1, description="Passwords that wait to be hashed; beyond: 503."
    )
    password_hash_memory_kib: int = Field(
        19456, ge=8, description="Memory of argon2id (OWASP's first choice, 19 MiB)."
    )
    password_hash_time: int = Field(2, ge=1, description="Passes of argon2id.")
