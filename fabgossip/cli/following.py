"""`fabgossip events`: what happened lately, and what happens from now on."""

import argparse
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from fabgossip.cli.client import Reply, UnreachableError, ask
from fabgossip.cli.output import EXIT_OK, EXIT_TRY_AGAIN, print_json, safe, say
from fabgossip.cli.replies import command, refused, rows_in

REQUEST_S: Final = 20.0
"""How long one request waits at the daemon."""
ANSWER_S: Final = 2.0
AGAIN_S: Final = 1.0
"""Until a daemon that is gone is looked for again."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the command; `socket` is the default path."""
    events = command(commands, "events", socket, run_events)
    events.add_argument(
        "--follow", action="store_true", help="and all that follows, across restarts, until Ctrl-C"
    )


def run_events(arguments: argparse.Namespace) -> int:
    """`fabgossip events`: with `--follow --json` an object a line."""
    if arguments.follow:
        return _follow(arguments)
    reply = ask(arguments.socket, "/v1/events")
    if arguments.json:
        print_json(reply.body)
    else:
        _print(reply, as_json=False)
    return EXIT_OK


def _follow(arguments: argparse.Namespace) -> int:
    """Until somebody ends it; what was lost meanwhile is said."""
    reply = ask(arguments.socket, "/v1/events")
    try:
        while reply.code == 200:
            if reply.body["missed"]:
                say(f"{reply.body['missed']} events are not kept any more")
            _print(reply, as_json=arguments.json)
            reply = _next(arguments.socket, reply)
    except KeyboardInterrupt:
        return EXIT_OK
    refused(reply, as_json=arguments.json)
    return EXIT_TRY_AGAIN


def _next(socket: Path, last: Reply) -> Reply:
    """What comes after an answer, of this process or, once that is gone, of the next one."""
    query = urlencode({"after": last.body["next"], "wait_ms": int(1_000 * REQUEST_S)})
    try:
        reply = ask(socket, f"/v1/events?{query}", REQUEST_S + ANSWER_S)
    except UnreachableError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        say(f"no daemon answers on {socket}; waiting for it")
        reply = _first_of_next(socket)
    if reply.code == 200 and reply.body["boot_id"] != last.body["boot_id"]:
        say("the daemon started anew: what follows is of the new process")
        reply = ask(socket, "/v1/events?after=0&wait_ms=1")
    return reply


def _first_of_next(socket: Path) -> Reply:
    while True:
        time.sleep(AGAIN_S)
        with suppress(UnreachableError):
            return ask(socket, "/v1/events")


def _print(reply: Reply, *, as_json: bool) -> None:
    for one in rows_in(reply.body, "items"):
        if as_json:
            print(json.dumps(one), flush=True)
            continue
        words = " ".join(
            f"{key}={safe(value)}"
            for key, value in one.items()
            if key not in ("number", "at", "event") and value != ""
        )
        print(f"{safe(one['at'])} {safe(one['event'])} {words}".rstrip(), flush=True)
