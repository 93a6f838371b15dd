"""How many machines a network of so many users needs, from measured costs: bench/CAPACITY.md.

Costs are the published ones of `growth` (no response cache, a million users), of `row_bytes` and
of `events`. What users do is stated here.
`python -m bench.readme` writes the page, with the words of bench/CAPACITY.in.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import published

_TEMPLATE = Path(__file__).with_name("CAPACITY.in.md")
USERS = (10**5, 10**6, 10**7, 10**8)
# What a person who is online does in an hour; the names are those of the growth's lines. A list of
# dialogs is counted as a page, and a post as a message.
HOURLY = {
    "user by id, read anew": 120.0,
    "search that 20 users match": 10.0,
    "feed page, read anew": 40.0,
    "dialog page, read anew": 80.0,
    "message send": 40.0,
}
POSTS_HOURLY = 0.5
# Online in the busiest hour, of all; how long somebody stays; hours that are as busy, of a day.
ONLINE, STAY_H, BUSY_HOURS = 0.05, 0.5, 8
FRIENDS, YEARS = 100, 3
# Of a machine: how much of a core is planned for, and what one host is taken to have.
USE, CORES, DISK_BYTES, SOCKETS = 0.6, 32, 8e12, 10_000
MAIN, DIALOGS, API, NODES, LOG, FOLLOWER = (
    "PostgreSQL, users and posts",
    "PostgreSQL, dialogs",
    "API processes",
    "websocket nodes",
    "event log",
    "each node reads all events",
)


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU in µs: `service` and `postgres` of a request by line, `frame` of one to a socket,
    `event` of one in the log, for who publishes and who follows. Bytes of a socket, and of a row
    with its indexes by table. `events_per_s` is what one process could do at most."""

    service: Mapping[str, float]
    postgres: Mapping[str, float]
    frame: float
    event: float
    events_per_s: float
    socket_bytes: float
    row_bytes: Mapping[str, float]

    @classmethod
    def published(cls) -> Costs:
        """The newest ones. Raises PublishedError where a figure is not there."""
        growth = published.figures("growth")["figures"]

        def middle(axis: str, line: str, what: str) -> float:
            largest = max(
                one["size"] for one in growth if (one["axis"], one["line"]) == (axis, line)
            )
            return median(
                one[what]
                for one in growth
                if (one["axis"], one["line"], one["size"]) == (axis, line, largest)
            )

        sockets = ("sockets", "a post to all of them")
        [event] = [
            one
            for one in published.figures("events")["figures"]
            if (one["server"], one["events a turn"]) == ("Redis", "1, batched")
        ]
        return cls(
            {line: middle("users", line, "server_cpu_us") for line in HOURLY},
            {line: middle("users", line, "postgres_cpu_us") for line in HOURLY},
            middle(*sockets, "server_cpu_us"),
            float(event["CPU µs an event"]),
            float(re.sub(",", "", event["most events/s"])),
            1000 * middle(*sockets, "memory_kb"),
            {
                one["table"]: one["row"] + one["indexes"]
                for one in published.figures("row_bytes")["figures"]
            },
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What a network needs in its busiest hour; rates a second, cores as planned for."""

    users: int
    online: float
    requests: float
    events: float
    frames: float
    cores: Mapping[str, float]
    socket_bytes: float
    main_bytes: float
    dialog_bytes: float

    @property
    def nodes(self) -> float:
        """Websocket nodes, each on a core: by frames and events, and by sockets."""
        # Every node follows the whole log: that part of its core has no socket.
        left = USE - self.cores[FOLLOWER]
        by_frames = self.cores[NODES] * USE / left if left > 0 else float("inf")
        return max(by_frames, self.online / SOCKETS)

    def filled(self) -> dict[str, float]:
        """How full what there is one of would be: above 1 it does not do."""
        return {
            MAIN: max(self.cores[MAIN] / CORES, self.main_bytes / DISK_BYTES),
            DIALOGS: max(self.cores[DIALOGS] / CORES, self.dialog_bytes / DISK_BYTES),
            LOG: self.cores[LOG],
            FOLLOWER: self.cores[FOLLOWER] / USE,
        }


def need(users: int, costs: Costs) -> Need:
    """What a network of so many users needs who do what is stated."""
    online = users * ONLINE
    rates = {line: online * hourly / 3600 for line, hourly in HOURLY.items()}
    messages, posts = rates["message send"], online * POSTS_HOURLY / 3600
    friends_online = FRIENDS * ONLINE
    # That somebody comes or goes is sent to the friends who are there, and so is a post; a message
    # goes to both, and so does the mark of having read it.
    changes = 2 * online / STAY_H / 3600
    events = posts + 2 * messages + changes
    frames = friends_online * (posts + changes) + 4 * messages

    def cores(of: Mapping[str, float], lines: tuple[str, ...], more: float = 0.0) -> float:
        return (sum(rates[line] * of[line] for line in lines) + more) / 1e6 / USE

    lines = tuple(HOURLY)
    post = posts * costs.service["message send"], posts * costs.postgres["message send"]
    yearly = 365 * BUSY_HOURS * 3600
    rows = costs.row_bytes
    return Need(
        users,
        online,
        sum(rates.values()) + posts,
        events,
        frames,
        {
            API: cores(costs.service, lines, post[0]),
            MAIN: cores(costs.postgres, lines[:3], post[1]),
            DIALOGS: cores(costs.postgres, lines[3:]),
            NODES: frames * costs.frame / 1e6 / USE,
            FOLLOWER: events * costs.event / 2 / 1e6,
            LOG: events / costs.events_per_s / USE,
        },
        online * costs.socket_bytes,
        users * (rows["user"] + FRIENDS * rows["friend"]) + YEARS * yearly * posts * rows["post"],
        YEARS * yearly * messages * rows["message"],
    )


def breaks_at(what: str, costs: Costs) -> float:
    """The users of whom this is full: every need grows with them."""
    return 10**6 / need(10**6, costs).filled()[what]


def page() -> str:
    """The text of bench/CAPACITY.md."""
    costs = Costs.published()
    needs = [need(users, costs) for users in USERS]

    def row(name: str, cells: list[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def cores(what: str) -> list[str]:
        return [_number(one.cores[what]) for one in needs]

    shards = [max(1.0, one.filled()[DIALOGS]) for one in needs]
    table = [
        row("users", [f"{users:,}" for users in USERS]),
        row("---", ["---:"] * len(USERS)),
        row("online in the busiest hour", [_number(one.online) for one in needs]),
        row("requests a second", [_number(one.requests) for one in needs]),
        row("events a second", [_number(one.events) for one in needs]),
        row("frames a second", [_number(one.frames) for one in needs]),
        row("API: cores", cores(API)),
        row("PostgreSQL of users, friendships, posts: cores", cores(MAIN)),
        row("its disk", [_bytes(one.main_bytes) for one in needs]),
        row("PostgreSQL of dialogs: cores", cores(DIALOGS)),
        row("its disk", [_bytes(one.dialog_bytes) for one in needs]),
        row("hosts that dialogs need (Citus)", [f"{math.ceil(one):,}" for one in shards]),
        row("websocket nodes, a core each", [_nodes(one) for one in needs]),
        row("memory of their sockets", [_bytes(one.socket_bytes) for one in needs]),
        row("event log: share of what one Redis does", [f"{one.cores[LOG]:.1%}" for one in needs]),
    ]
    order = sorted((breaks_at(what, costs), what) for what in needs[0].filled())
    breaks = [
        row(f"{index}. {what}", [_users(at), _INSTEAD[what]])
        for index, (at, what) in enumerate(order, 1)
    ]
    return _TEMPLATE.read_text(encoding="utf-8").format(
        table="\n".join(table),
        breaks="\n".join(
            ["| what | full at users | in its place |", "| --- | ---: | --- |", *breaks]
        ),
        behaviour="\n".join(_behaviour()),
        costs="\n".join(_costs(costs)),
        years=YEARS,
        use=f"{USE:.0%}",
        cores=CORES,
        disk=_bytes(DISK_BYTES),
        sockets=f"{SOCKETS:,}",
    )


def _behaviour() -> list[str]:
    lines = ["| | |", "| --- | ---: |"]
    lines += [
        f"| {line.removesuffix(', read anew')}, an hour | {n:g} |" for line, n in HOURLY.items()
    ]
    return [
        *lines,
        f"| posts, an hour | {POSTS_HOURLY:g} |",
        f"| friends | {FRIENDS} |",
        f"| stays, in minutes | {60 * STAY_H:g} |",
        f"| of all users online in the busiest hour | {ONLINE:.0%} |",
        f"| hours of a day that are as busy | {BUSY_HOURS} |",
    ]


def _costs(costs: Costs) -> list[str]:
    lines = ["| | service, µs of CPU | PostgreSQL, µs of CPU |", "| --- | ---: | ---: |"]
    lines += [
        f"| {line} | {costs.service[line]:.0f} | {costs.postgres[line]:.0f} |" for line in HOURLY
    ]
    return [
        *lines,
        f"| a frame to one socket | {costs.frame:.0f} | |",
        f"| an event of the log, published and followed | {costs.event:.0f} | |",
    ]


def _users(count: float) -> str:
    step = 10 ** (len(str(int(count))) - 2)
    return f"{round(count / step) * step:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _nodes(one: Need) -> str:
    return "none is enough" if one.nodes == float("inf") else f"{math.ceil(one.nodes):,}"


def _bytes(value: float) -> str:
    power = min(int(math.log10(value)) // 3, 4)
    value /= 1000**power
    unit = ("bytes", "kB", "MB", "GB", "TB")[power]
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


_INSTEAD = {
    FOLLOWER: "several logs, each with a part of the users, and nodes that follow those of theirs: "
    "not built",
    MAIN: "replicas for the reads, which are most of it; then friendships and posts by author on "
    "Citus: not built",
    DIALOGS: "Citus: dialogs are sharded by their id",
    LOG: "several logs, each with a part of the users: not built",
}
