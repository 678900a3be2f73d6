"""How a command ends: the exit code, and one line on standard error. See ``errors`` for the table."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from pagewalk.doors import shortened
from pagewalk.errors import PagewalkError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["complain", "finish"]

SYSTEM_ERROR: Final = 10
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 1

_LONGEST: Final = 1000
"""Characters of a message: names and arguments can be of any length."""


def finish(command: Callable[[], object]) -> int:
    """Run a command to its last written byte.

    Returns:
        The exit code: what the command returned, or that of the error it ended with.
    """
    if sys.stdout is None:
        complain("standard output is closed")
        return SYSTEM_ERROR
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to end
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        code = INTERRUPTED
    except Exception as error:
        code, line = _verdict(error)
        complain(line)
    else:
        return code if isinstance(code, int) else 0
    _drop_output()
    return code


def _verdict(error: Exception) -> tuple[int, str]:
    """The exit code and the line for an error; one that nobody foresaw goes on."""
    if isinstance(error, PagewalkError):
        return error.exit_code, " ".join([str(error), *(f"({note})" for note in getattr(error, "__notes__", ()))])
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "pagewalk"
        return error.exit_code, f"{error.format_message()} Try '{where} --help'."
    if isinstance(error, MemoryError):
        return SYSTEM_ERROR, "out of memory: ask for a smaller range"
    if isinstance(error, OSError):
        what = error.strerror or str(error)
        return SYSTEM_ERROR, what if error.filename is None else f"{error.filename}: {what}"
    raise error


def complain(line: str) -> None:
    """Write one line to standard error; what would steer a terminal is escaped, whoever put it there."""
    text = shortened(" ".join(line.split()), _LONGEST)
    with contextlib.suppress(OSError):
        print("pagewalk:", text, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Drop what is not written yet, or the interpreter would try once more, and wait or complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
