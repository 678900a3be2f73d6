"""Writing to standard output, all of it or an error; and colours, where they are wanted."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["coloured", "paint", "write", "write_bytes"]


def write(blocks: Iterable[str]) -> None:
    """Write text.

    Raises:
        OSError: Not all of it could be written.
    """
    for block in blocks:
        try:
            sys.stdout.write(block)
        except OSError as error:
            raise _named(error) from None
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _named(error) from None


def write_bytes(blocks: Iterable[bytes]) -> None:
    """Write bytes as they are.

    Raises:
        OSError: Not all of them could be written.
    """
    for block in blocks:
        try:
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise _named(error) from None


def _named(error: OSError) -> OSError:
    """The error, saying what could not be written."""
    return OSError(error.errno, error.strerror, "standard output")


def coloured() -> bool:
    """Whether standard output wants colours: NO_COLOR refuses them, FORCE_COLOR demands them, else a terminal decides.

    Source: no-color.org, force-color.org: each counts if it is set and not empty.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """Text in a colour, where colours are wanted."""
    return click.style(text, fg=colour) if coloured() else text
