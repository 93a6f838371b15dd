"""Every experiment there is: its name, its question, and the line that runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Experiment:
    """`module`: what `bash build.sh lab NAME` runs; none for what other programs run.

    `line`: the words behind `python -m bench.NAME`, or all of another program's line. `note`: how
    long it takes, and what must be installed.
    """

    name: str
    question: str
    note: str
    module: str | None = None
    line: str = ""
    more: str = ""

    @property
    def run(self) -> str:
        """The line that runs it, in Markdown."""
        line = f"python -m {self.module} {self.line}".rstrip() if self.module else self.line
        return f"`{line}` ({self.note}){self.more}"


def _script(name: str, question: str, note: str, line: str = "", more: str = "") -> Experiment:
    return Experiment(name, question, note, f"bench.{name.replace('/', '.')}", line, more)


EXPERIMENTS = (
    _script(
        "lab",
        "**What does each method bring, on this machine?** To requests, frames, your own service",
        "5 minutes",
        more=", or `bash build.sh lab`, see [below](#the-laboratory)",
    ),
    _script(
        "compare",
        "What does a request cost here, and what in the stack that most people would write? Is it "
        "cheaper than it was?",
        "9 minutes",
        more="; `python -m bench.compare --peers static --keys hot --against HEAD~1`",
    ),
    _script(
        "instructions",
        "How many instructions does a request take? More than before?",
        "4 minutes, 8 against a commit; valgrind must be installed",
    ),
    _script(
        "databases",
        "What does the same request cost on MariaDB instead of PostgreSQL?",
        "8 minutes; MariaDB must be installed",
    ),
    _script("search_prefixes", "Which search is the slowest among 1,000,000 users?", "2 minutes"),
    _script(
        "growth",
        "What grows with users, friends, messages, workers and sockets, and what does not?",
        "12 minutes",
    ),
    _script(
        "bounded",
        "What do cached answers, tokens and events cost beyond their bounds, and how far does the "
        "process grow?",
        "1 minute",
    ),
    _script(
        "overload",
        "What is answered beyond the capacity, how soon is all as before, and without the database "
        "for 10 s?",
        "3 minutes",
    ),
    _script(
        "live",
        "How many sockets does a websocket node hold, and how soon does a frame arrive?",
        "2 minutes",
    ),
    _script(
        "ledger",
        "Is anything lost when servers die under load?",
        "25 minutes; RabbitMQ must be installed, or `--events redis`",
    ),
    _script(
        "live/peers",
        "What does a frame cost here, and what with Starlette and Node's `ws`?",
        "10 minutes; Node.js 20 or newer with npm",
    ),
    _script(
        "replicas",
        "What do replicas spare the primary, and what does it cost to find one?",
        "4 minutes",
    ),
    _script("events", "How many events does one process publish and follow?", "4 minutes"),
    _script(
        "event_lag",
        "How late is what one author writes through two processes at once?",
        "1 minute",
        more="; behind HAProxy: `python -m bench.event_lag --rates 200 500 --through haproxy`",
    ),
    _script(
        "rolling_restart",
        "What do clients notice of APIs that are restarted one after the other?",
        "1 minute; HAProxy must be installed",
    ),
    _script(
        "citus",
        "Is a message lost while shards move, split and die?",
        "3 minutes",
        "DSN DSN DSN DSN",
    ),
    _script(
        "citus_send", "What do a message and a page cost on Citus?", "2 minutes", "DSN DSN DSN"
    ),
    _script("row_bytes", "What does a row take on disk?", "30 seconds"),
    _script("readme", "Are the pages made of the published figures?", "1 second", "--check"),
    Experiment(
        "capacity",
        "How many machines do so many users need, and what breaks first?",
        "[CAPACITY.md](CAPACITY.md), which it makes",
        line="python -m bench.readme",
    ),
    Experiment(
        "micro",
        "What does each step of a request cost?",
        "15 seconds",
        line="pytest bench/micro",
    ),
    Experiment(
        "swarm",
        "Does the whole service, as it is deployed, hold many users at once?",
        "as long as you like",
        line="locust -f bench/swarm/locustfile.py",
        more=", see [below](#swarm)",
    ),
)
# What `bash build.sh lab NAME` runs beside the lab's own.
MODULES = {one.name: one.module for one in EXPERIMENTS if one.module and one.name != "lab"}


def table() -> list[str]:
    """The table of all experiments, in Markdown."""
    rows = [f"| `{one.name}` | {one.question} | {one.run} |" for one in EXPERIMENTS]
    return ["| | question | run |", "| --- | --- | --- |", *rows]
