"""`fabgossip events`: what happened lately, and what happens from now on."""

import argparse
import json
import time
from pathlib import Path
from urllib.parse import urlencode

from fabgossip.cli.arguments import at_least_one
from fabgossip.cli.client import Reply, UnreachableError, ask
from fabgossip.cli.output import EXIT_OK, print_json, safe, say
from fabgossip.cli.replies import (
    below_cluster,
    command,
    namespace_of,
    refused,
    rows_in,
    say_nearest,
)
from fabgossip.cli.waiting import AGAIN_S, ANSWER_S, REQUEST_S


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the command; `socket` is the default path."""
    events = command(commands, "events", socket, run_events)
    events.add_argument(
        "--follow", action="store_true", help="and all that follows, across restarts, until Ctrl-C"
    )
    events.add_argument("--namespace", help="only what is about this one")
    events.add_argument("--last", type=at_least_one, metavar="N", help="only the last N of those")


def run_events(arguments: argparse.Namespace) -> int:
    """`fabgossip events`: with `--follow --json` an object a line."""
    if arguments.namespace is not None:
        namespace_of(arguments.namespace)
    if arguments.follow:
        return _follow(arguments)
    reply = ask(arguments.socket, "/v1/events")
    rows = _last(_about(arguments.namespace, reply), arguments.last)
    if arguments.json:
        print_json(reply.body | {"items": rows})
    else:
        _print(rows, as_json=False)
        if not rows and arguments.namespace is not None:
            say(f"no event about {safe(arguments.namespace)} is kept")
            say_nearest(arguments, arguments.namespace)
    return EXIT_OK


def _follow(arguments: argparse.Namespace) -> int:
    """Until somebody ends it; what is not kept any more is said."""
    follower = Follower(arguments.socket)
    last: int | None = arguments.last
    try:
        while (reply := follower.next()).code == 200:
            if reply.body["missed"]:
                say(f"{reply.body['missed']} events are not kept any more")
            _print(_last(_about(arguments.namespace, reply), last), as_json=arguments.json)
            last = None
    except KeyboardInterrupt:
        return EXIT_OK
    return refused(reply, as_json=False)  # standard output is for events


class Follower:
    """Asks for what comes after what it has seen, of whichever process answers."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._query: dict[str, str | int] = {}
        """None at first: the last that are kept."""

    def next(self) -> Reply:
        """Further events, or none for a while; raises `UnreachableError` where no daemon ever
        answered, `ForbiddenError` where it may not be asked."""
        reply = self._ask()
        if reply.code == 200:
            boot_id, before = reply.body["boot_id"], self._query.get("boot_id")
            if before not in (None, boot_id):
                say("the daemon started anew: what follows is of the new process")
            self._query = {
                "boot_id": str(boot_id),
                "after": str(reply.body["next"]),
                "wait_ms": int(1_000 * REQUEST_S),
            }
        return reply

    def _ask(self) -> Reply:
        """Again and again once it did answer: it may restart, or be busy."""
        is_told = False
        while True:
            try:
                target = f"/v1/events?{urlencode(self._query)}".rstrip("?")
                reply = ask(self._socket, target, REQUEST_S + ANSWER_S)
            except UnreachableError:
                if not self._query:
                    raise
                if not is_told:
                    say(f"no daemon answers on {self._socket}; waiting for it")
                is_told = True
            else:
                if reply.code != 503:
                    return reply
            time.sleep(AGAIN_S)


def _about(namespace: str | None, reply: Reply) -> list[dict[str, object]]:
    """The events about a namespace, in full or as in `fabric.toml`; without one, all."""
    rows = rows_in(reply.body, "items")
    if namespace is None:
        return rows
    named = [(one, str(one.get("namespace", ""))) for one in rows]
    return [one for one, name in named if namespace in (name, below_cluster(name))]


def _last(rows: list[dict[str, object]], count: int | None) -> list[dict[str, object]]:
    return rows if count is None else rows[-count:]


def _print(rows: list[dict[str, object]], *, as_json: bool) -> None:
    for one in rows:
        if as_json:
            print(json.dumps(one), flush=True)
            continue
        words = " ".join(
            f"{key}={safe(value)}"
            for key, value in one.items()
            if key not in ("number", "at", "event") and value != ""
        )
        print(f"{safe(one['at'])} {safe(one['event'])} {words}".rstrip(), flush=True)
