"""What handlers are given: opened in the composition root, handed down."""

from __future__ import annotations

from dataclasses import dataclass

from hlfast.auth.sessions import Sessions
from hlfast.bodies import Bodies, Mark
from hlfast.cache import Cache, FailureThrottle
from hlfast.db.batching import BatchReader
from hlfast.db.database import Database
from hlfast.db.nodes import Nodes
from hlfast.db.replicas import Replicated
from hlfast.outbox import Outbox
from hlfast.passwords import Passwords
from hlfast.profiles import Profile, Wanted
from hlfast.sending import Sender
from hlfast.settings import Settings
from hlfast.web import endpoint
from hlfast.web.auth import Authenticator, Tokens


@dataclass(slots=True)
class Context:
    """The service's parts. `main` and `dialogs` may be one database.

    `reads` is the main one for reads that cost more than to find a replica that may answer. `nodes`
    are those of the dialogs where they are on a cluster.
    """

    settings: Settings
    main: Database
    reads: Database
    dialogs: Database
    nodes: Nodes | None
    outbox: Outbox
    dialogs_outbox: Outbox
    sender: Sender
    users: BatchReader[int, Profile]
    searches: BatchReader[Wanted, str]
    feed_marks: BatchReader[int, Mark]
    dialog_marks: BatchReader[int, Mark]
    bodies: Bodies
    cache: Cache
    login_failures: FailureThrottle
    password_failures: FailureThrottle
    passwords: Passwords
    tokens: Tokens
    sessions: Sessions
    authenticator: Authenticator
    replicated: Replicated | None


Call = endpoint.Call[Context]
