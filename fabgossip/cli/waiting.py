"""`fabgossip wait`: until consumers on this node may read what they need."""

import argparse
import time
from typing import Final
from urllib.parse import urlencode

from fabgossip.cli.client import Reply, UnreachableError, ask
from fabgossip.cli.output import (
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    EXIT_USAGE,
    print_json,
    safe,
    say,
)
from fabgossip.cli.replies import command, namespace_of, refused, rows_in, say_near
from fabgossip.errors import UsageError

REQUEST_S: Final = 20.0
"""How long one request waits at the daemon."""
ANSWER_S: Final = 2.0
"""How much longer than it was asked to wait a daemon may take to answer."""
AGAIN_S: Final = 1.0
TIMEOUT_S_MAX: Final = 86_400.0


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the command; `socket` is the default path."""
    wait = command(commands, "wait", socket, run_wait)
    wait.add_argument(
        "namespace", metavar="NAMESPACE", nargs="?", help="only this one; else all this node uses"
    )
    wait.add_argument("--min-version", metavar="E.V", help="this version of it or a later one")
    wait.add_argument(
        "--usable", action="store_true", help="mode and age must allow it to be read as well"
    )
    wait.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (60)"
    )


def run_wait(arguments: argparse.Namespace) -> int:
    """`fabgossip wait`: 0 reached, 75 not yet, 5 withdrawn or revoked, 3 no daemon in all that
    time."""
    query = _query(arguments)
    ends_at = time.monotonic() + arguments.timeout
    is_told = False
    while True:
        left_s = max(0.0, ends_at - time.monotonic())
        wait_s = min(left_s, REQUEST_S)
        query["wait_ms"] = str(max(1, int(1_000 * wait_s)))
        try:
            reply = ask(arguments.socket, f"/v1/wait?{urlencode(query)}", wait_s + ANSWER_S)
        except UnreachableError:
            # It may be about to start, or to start again.
            if left_s <= AGAIN_S:
                raise
            if not is_told:
                say(f"no daemon answers on {arguments.socket} yet")
            is_told = True
            time.sleep(AGAIN_S)
            continue
        if reply.code == 503 and left_s > AGAIN_S:
            time.sleep(AGAIN_S)
        elif reply.code != 200 or reply.body["arrival"] != "not_yet" or not left_s:
            return _print(reply, arguments)


def _query(arguments: argparse.Namespace) -> dict[str, str]:
    if not 0.0 <= arguments.timeout <= TIMEOUT_S_MAX:
        limit = f"expected 0 to {TIMEOUT_S_MAX:.0f} seconds"
        raise UsageError(f"--timeout {arguments.timeout}: {limit}")
    if arguments.namespace is None:
        if arguments.min_version is not None:
            raise UsageError("--min-version: name the namespace it is a version of")
        return {}
    namespace = namespace_of(arguments.namespace)
    query = {"namespace": namespace, "usable": str(int(arguments.usable))}
    if arguments.min_version is not None:
        query["min_version"] = arguments.min_version
    return query


def _print(reply: Reply, arguments: argparse.Namespace) -> int:
    if reply.code != 200:
        refused(reply, as_json=arguments.json)
        return EXIT_USAGE if reply.code == 400 else EXIT_TRY_AGAIN
    body, arrival = reply.body, reply.body["arrival"]
    if arguments.json:
        print_json(body)
    elif arrival == "reached":
        print(f"{body['namespaces']} in use")
    else:
        _print_missing(body, arguments)
    if arrival == "reached":
        return EXIT_OK
    return EXIT_REFUSED if arrival == "gone" else EXIT_TRY_AGAIN


def _print_missing(body: dict[str, object], arguments: argparse.Namespace) -> None:
    if not body["namespaces"]:
        say("nothing that this node uses has come here; fabgossip status says why")
        return
    say(f"{body['missing']} of {body['namespaces']} not usable")
    for item in rows_in(body, "items"):
        say(f"  {safe(item['namespace'])}  {safe(item['reason'])}")
    # `why` knows of nothing that was never announced here.
    if arguments.namespace is not None:
        reply = ask(arguments.socket, f"/v1/why?{urlencode({'namespace': arguments.namespace})}")
        if reply.code == 404:
            say("nothing of that name was announced here; fabgossip artifacts lists what was")
            say_near(reply, arguments, arguments.namespace)
            return
    say("fabgossip why NAMESPACE says what was tried")
