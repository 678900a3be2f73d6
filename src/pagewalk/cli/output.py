"""Writing to standard output, all of it or an error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["paint", "write"]


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


def _named(error: OSError) -> OSError:
    """The error, saying what could not be written."""
    return OSError(error.errno, error.strerror, "standard output")


def paint(text: str, colour: str) -> str:
    """Text in a colour, on a terminal that wants it."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if wanted else text
