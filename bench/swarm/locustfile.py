"""A swarm of users, with Locust. Its page is at http://localhost:8089:

    locust -f bench/swarm/locustfile.py --host http://localhost:8000

Without the page, on two cores, and with an exit code that says whether it was good enough:

    locust -f bench/swarm/locustfile.py --processes 2 --headless -u 500 -r 20 -t 2m --max-p99-ms 200
"""

from __future__ import annotations

from argparse import ArgumentTypeError

from locust import events
from locust.argument_parser import LocustArgumentParser
from person import Person
from thresholds import judge

# The only class that Locust finds in here.
__all__ = ["Person"]


def share(text: str) -> float:
    """A number from 0 to 1. Raises ArgumentTypeError."""
    number = positive(text)
    if number > 1:
        raise ArgumentTypeError(f"{text} is not within 0..1")
    return number


def positive(text: str) -> float:
    """A number from 0. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number from 0")
    return number


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """They are fields of the page, too, and variables: SWARM_GAGA and so on."""
    # Anybody who reaches the page or the master may have this machine send load anywhere.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", num_users=100)
    parser.set_defaults(spawn_rate=10)
    for name, kind, default, text in (
        ("gaga", share, 0.3, "Lady Gaga ratio: the share of what is done around the stars"),
        ("stars", int, 3, "Stars: accounts that everybody is a friend of"),
        ("rate", positive, 0.5, "What the average person does in a second; most do less, few more"),
        ("seed", int, 1, "Same number, same accounts: another run finds them registered"),
        ("ws-url", str, "", "Websocket; empty: /ws at the host"),
        ("max-error-ratio", share, 0.0, "Fail above: errors among all requests and frames"),
        (
            "max-p99-ms",
            positive,
            0.0,
            "Fail above: requests without registrations and logins; 0: no",
        ),
        ("max-frame-p99-ms", positive, 0.0, "Fail above: websocket frames; 0: no"),
        ("min-rps", positive, 0.0, "Fail below: right answers to requests in a second"),
    ):
        variable = f"SWARM_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", type=kind, default=default, env_var=variable, help=text)


@events.quitting.add_listener
def finish(environment, **_: object) -> None:
    """Set the exit code."""
    judge(environment)
