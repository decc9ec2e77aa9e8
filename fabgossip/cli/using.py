"""`fabgossip artifacts use`: local software back at an older version, and at the newest again."""

import argparse
from contextlib import closing
from urllib.parse import urlencode

from fabgossip.cli.client import StatusClient
from fabgossip.cli.pins import check_reason, seconds_of
from fabgossip.cli.replies import carried_out, command, namespace_of, say_near
from fabgossip.errors import ModelError, UsageError
from fabgossip.model.artifact import parse_order


def register_use(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the verb; `socket` is the default path."""
    use = command(verbs, "use", socket, run_use)
    use.add_argument("namespace", metavar="NAMESPACE", help="what local software reads")
    which = use.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", metavar="E.V", help="back to this version, if it is kept")
    which.add_argument("--release", action="store_true", help="to the newest version again")
    use.add_argument("--reason", help="with --version: for whoever wonders why")
    use.add_argument("--for", dest="span", help="with --version: how long: 90m, 24h, 7d (24h)")


def run_use(arguments: argparse.Namespace) -> int:
    """`fabgossip artifacts use`: what is not known, not kept or for too long is a usage error."""
    namespace = namespace_of(arguments.namespace)
    query = {"namespace": namespace}
    if not arguments.release:
        query |= _asked(arguments)
    elif arguments.reason is not None or arguments.span is not None:
        raise UsageError("--release: takes neither --reason nor --for")
    path = f"/v1/use?{urlencode(query)}"
    with closing(StatusClient(arguments.socket)) as client:
        reply = client.delete(path) if arguments.release else client.post(path)
    keys = ("outcome", "namespace", "order")
    shown = keys if arguments.release else (*keys, "until")
    code = carried_out(reply, shown, as_json=arguments.json)
    say_near(reply, arguments, namespace)
    return code


def _asked(arguments: argparse.Namespace) -> dict[str, str]:
    try:
        order = parse_order(arguments.version)
    except ModelError as error:
        raise UsageError(f"--version: {error}") from error
    check_reason(arguments.reason or "")
    seconds = seconds_of(arguments.span or "24h")
    return {"version": str(order), "reason": arguments.reason, "seconds": str(seconds)}
