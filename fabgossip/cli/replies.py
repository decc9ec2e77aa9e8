"""What all commands share that ask a daemon: how they begin, and how an answer is taken apart."""

import argparse
import difflib
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from fabgossip.cli.client import Reply, ask
from fabgossip.cli.output import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    EXIT_USAGE,
    print_json,
    safe,
    say,
)
from fabgossip.errors import UsageError

EXITS: Final = {
    400: EXIT_USAGE,
    404: EXIT_FAILURE,
    422: EXIT_REFUSED,
    403: EXIT_REFUSED,
    503: EXIT_TRY_AGAIN,
    504: EXIT_TRY_AGAIN,
}
"""Of a code of HTTP."""
PAGE = 1_000
"""Artifacts asked for at once."""
_WORD_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-:/")
_UNKNOWN = "fabgossip artifacts lists what this node knows"
_HASH = re.compile(r"[0-9a-f]{64}")


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    socket: str,
    run: object,
) -> argparse.ArgumentParser:
    """Add a command that asks a daemon; `socket` is the default path."""
    parser = commands.add_parser(name)
    parser.add_argument(
        "--socket", type=Path, default=Path(socket), help=f"the daemon's status socket ({socket})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run)
    return parser


def subject_of(text: str) -> tuple[str, str]:
    """What is asked about, as a parameter of the query; raises `UsageError` where it can be
    nothing: that it is unknown would send a person looking for it."""
    _check_characters(text)
    if "/" in text:
        return "namespace", text
    if _HASH.fullmatch(text) is None:
        raise UsageError(
            f"{text!r}: expected a namespace, such as routes/edge, or the 64 hexadecimal digits of "
            "a content hash"
        )
    return "content_hash", text


def namespace_of(text: str) -> str:
    """The same where only a namespace will do."""
    _check_characters(text)
    if _HASH.fullmatch(text) is not None:
        raise UsageError(f"{text}: is a content hash; expected a namespace, such as routes/edge")
    if "/" not in text:
        raise UsageError(f"{text!r}: expected a namespace, such as routes/edge")
    return text


def _check_characters(text: str) -> None:
    if _HASH.fullmatch(text.lower()) is not None and not text.islower():
        raise UsageError(f"{text}: a content hash is written in lower case")
    strange = next((one for one in text if one not in _WORD_CHARACTERS), None)
    if strange is not None:
        raise UsageError(
            f"{text!a}: {strange!a} (U+{ord(strange):04X}) stands in no namespace: "
            "a-z 0-9 . _ - : /"
        )


def refused(reply: Reply, *, as_json: bool, unknown: str = _UNKNOWN) -> int:
    """Show why an answer is none, and what helps where that is unknown; gives the exit code."""
    if as_json:
        print_json(reply.body)
    else:
        say(f"fabgossip: {safe(reply.body.get('detail') or reply.body.get('code'))}")
        if reply.code == 404:
            say(f"     {unknown}")
    return EXITS.get(reply.code, EXIT_FAILURE)


def say_near(reply: Reply, arguments: argparse.Namespace, subject: str) -> None:
    """For people, where an answer says that nobody here knows a namespace."""
    if reply.code == 404 or reply.body.get("code") == "namespace":
        say_nearest(arguments, subject)


def say_nearest(arguments: argparse.Namespace, subject: str) -> None:
    """For people, of a namespace nobody here knows, the nearest this node lists to them anyway."""
    if arguments.json or "/" not in subject:
        return
    listed = ask(arguments.socket, f"/v1/artifacts?{urlencode({'limit': str(PAGE)})}")
    if listed.code != 200:
        return
    names = [str(one["namespace"]) for one in rows_in(listed.body, "items")]
    # By what all have in common each would be near to any.
    whole = {below_cluster(one): one for one in names}
    is_whole = subject.startswith("platform/")
    tail = below_cluster(subject) if is_whole else subject
    near = difflib.get_close_matches(tail, whole, n=1)
    if near and tail not in whole:
        say(f"     did you mean {(whole[near[0]] if is_whole else near[0])!r}?")


def below_cluster(namespace: str) -> str:
    """As `fabric.toml` has it, without `platform/ID/cluster/ID/`."""
    return "/".join(namespace.split("/")[4:])


def table_in(body: dict[str, object], key: str) -> dict[str, object]:
    """The object under a key."""
    value = body[key]
    assert isinstance(value, dict)
    return value


def carried_out(
    reply: Reply, keys: tuple[str, ...], *, as_json: bool, unknown: str = _UNKNOWN
) -> int:
    """Show what became of an order, by these keys of the answer; gives the exit code. What it names
    and nobody knows was named wrongly."""
    if reply.code != 200:
        code = refused(reply, as_json=as_json, unknown=unknown)
        return EXIT_USAGE if reply.code == 404 else code
    if as_json:
        print_json(reply.body)
    else:
        values = {key: safe(reply.body[key]) for key in keys}
        print(" ".join(f"until {text}" if key == "until" else text for key, text in values.items()))
    return EXIT_OK


def rows_in(body: dict[str, object], key: str) -> list[dict[str, object]]:
    """The objects under a key."""
    value = body[key]
    assert isinstance(value, list)
    return value
