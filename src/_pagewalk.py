"""Where the ``pagewalk`` command begins: outside the package, so that Ctrl-C is heard before that is imported.

How it works. An exception does not survive everywhere: an import made by C code may swallow it, a destructor's is
printed as "ignored". So SIGINT ends the process at once where an import is going on, and raises KeyboardInterrupt
anywhere else, for the command to tidy up. Nothing is imported here that the interpreter has not got already, but
``signal``.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

__all__ = ["main"]

INTERRUPTED = 130
_IMPORTS = "<frozen importlib._bootstrap>"
"""The file that every import in progress has a frame of."""


def main() -> None:
    """Run the command line, and end the process."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell had it ignored
            signal.signal(signal.SIGINT, _interrupt)
            sys.unraisablehook = _unraisable
        from pagewalk.cli import main as command

        try:
            command()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the verdict is there: what is left is to end
    except KeyboardInterrupt:
        _end()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """What SIGINT does."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """What becomes of an exception that nobody can catch."""
    if what.exc_type is KeyboardInterrupt:
        _end()
    sys.__unraisablehook__(what)


def _end() -> NoReturn:
    """End here and now, with the line that a command interrupted later ends with."""
    try:
        os.write(2, b"pagewalk: interrupted\n")
    finally:  # also where nobody can be told
        os._exit(INTERRUPTED)
