"""`fabgossip artifacts pin`, `unpin` and `pins`: what is to stay on this node's disk."""

import argparse
from contextlib import closing
from typing import Final
from urllib.parse import urlencode

from fabgossip.cli.client import StatusClient, ask
from fabgossip.cli.output import EXIT_OK, print_json, print_table
from fabgossip.cli.replies import carried_out, command, rows_in, say_near, subject_of
from fabgossip.errors import UsageError

_SPANS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
PIN_DAYS_MAX: Final = 90
"""As the daemon takes it."""
_LISTED: Final = "fabgossip artifacts pins lists them"
_SHOWN: Final = ("outcome", "pin", "content_hash", "namespace", "until")


def register_pins(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str
) -> None:
    """Add the verbs; `socket` is the default path."""
    pin = command(verbs, "pin", socket, run_pin)
    pin.add_argument("subject", metavar="NAMESPACE|HASH", help="whose content is to stay")
    pin.add_argument("--reason", required=True, help="for whoever wonders why it is still here")
    pin.add_argument("--for", dest="span", default="24h", help="how long: 90m, 24h, 7d (24h)")
    unpin = command(verbs, "unpin", socket, run_unpin)
    unpin.add_argument("pin", metavar="PIN", help="the number of a pin")
    command(verbs, "pins", socket, run_pins)


def run_pin(arguments: argparse.Namespace) -> int:
    """`fabgossip artifacts pin`: what is not known, or for too long, is a usage error."""
    check_reason(arguments.reason)
    query = dict((subject_of(arguments.subject),))
    query |= {"reason": arguments.reason, "seconds": str(seconds_of(arguments.span))}
    with closing(StatusClient(arguments.socket)) as client:
        reply = client.post(f"/v1/pins?{urlencode(query)}")
    code = carried_out(reply, _SHOWN, as_json=arguments.json)
    say_near(reply, arguments, arguments.subject)
    return code


def check_reason(reason: str) -> None:
    """Raises `UsageError` where it tells nobody anything."""
    if not reason.strip() or not reason.isprintable():
        raise UsageError("--reason: expected words on one line, for whoever wonders why")


def seconds_of(span: str) -> int:
    """How long a span such as `24h` is; raises `UsageError`."""
    number, unit = span[:-1], span[-1:]
    if unit not in _SPANS or not (number.isascii() and number.isdigit() and len(number) < 6):
        raise UsageError(f"--for {span}: expected a number and one of {', '.join(_SPANS)}")
    seconds = int(number) * _SPANS[unit]
    if not 0 < seconds <= PIN_DAYS_MAX * _SPANS["d"]:
        raise UsageError(f"--for {span}: expected 1s to {PIN_DAYS_MAX}d")
    return seconds


def run_unpin(arguments: argparse.Namespace) -> int:
    """`fabgossip artifacts unpin`."""
    if not (arguments.pin.isascii() and arguments.pin.isdigit()):
        raise UsageError(f"{arguments.pin!r}: expected the number of a pin; {_LISTED}")
    with closing(StatusClient(arguments.socket)) as client:
        reply = client.delete(f"/v1/pins?{urlencode({'pin': arguments.pin})}")
    return carried_out(reply, _SHOWN, as_json=arguments.json, unknown=_LISTED)


def run_pins(arguments: argparse.Namespace) -> int:
    """`fabgossip artifacts pins`."""
    reply = ask(arguments.socket, "/v1/pins")
    if arguments.json:
        print_json(reply.body)
        return EXIT_OK
    keys = ("pin", "namespace", "owner", "until", "reason", "content_hash")
    rows = [tuple(one[key] for key in keys) for one in rows_in(reply.body, "items")]
    print_table(("PIN", "NAMESPACE", "OWNER", "UNTIL", "REASON", "CONTENT"), rows)
    return EXIT_OK
