"""Types of command-line arguments; what is wrong with one is told as a wrong use of the command."""

from __future__ import annotations

import argparse
import re
from urllib.parse import urlsplit

from runtime.primitives.keys import AddressError, ss58_decode

SCHEMES = ("ws", "wss", "http", "https")
_HEX = re.compile(r"0x[0-9a-fA-F]{64}")
_VERSION = re.compile(r"([0-9]{1,10}):([0-9]{1,10})", re.ASCII)


def account_argument(text: str) -> bytes:
    """Parse an SS58 address, or 0x and 64 hex digits, to the account's 32 bytes."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(text[2:])
    try:
        return ss58_decode(text)[0]
    except AddressError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no account: {error}") from error


def node_argument(text: str) -> str:
    """Check the address of a node's JSON-RPC."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as ws://127.0.0.1:9944")
    return text


def hash_argument(text: str) -> bytes:
    """Parse 0x and 64 hex digits."""
    if not _HEX.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 0x and 64 hex digits")
    return bytes.fromhex(text[2:])


def id_argument(text: str) -> int:
    """Parse the number of a Datanet, model, session or block."""
    if not (text.isascii() and text.isdecimal()) or not int(text[:20]) < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 4294967295")
    return int(text)


def version_argument(text: str) -> tuple[int, int]:
    """Parse a Datanet and its version, ``3:0``."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not DATANET:VERSION, such as 3:0")
    return id_argument(match[1]), id_argument(match[2])
