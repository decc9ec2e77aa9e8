"""Values of options that several commands take, as argparse reads them."""

import argparse


def at_least_one(text: str) -> int:
    """A count: 0 or less would be nothing at all."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 on")
    return int(text)
