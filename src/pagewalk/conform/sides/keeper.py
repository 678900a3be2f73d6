"""What a campaign changes of the machine, and puts back however it ends.

How it works: a process of its own makes the change and says so. When its pipe ends, which it does even if whoever asked
was killed, it puts all of it back.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["keep", "kept"]

_PATIENCE = 60
"""Seconds that putting back may take."""


@contextmanager
def kept(module: str, *words: str) -> Iterator[str]:
    """A machine that a module has changed; what it says: nothing, or why it could not.

    Args:
        module: It calls ``keep`` when it is run.
        words: For it.
    """
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), *words]
        keeper = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
        )
    try:
        try:
            why = ours.recv()
        except EOFError:
            why = "the process that keeps it died"
        yield why
    finally:
        ours.close()
        keeper.wait(_PATIENCE)


def keep(change: Callable[..., None]) -> None:
    """In that process: make a change, and wait until the pipe ends.

    Args:
        change: Makes it, or raises OSError. It is given a stack, which it tells how to undo it, and the words.
    """
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as pipe, contextlib.ExitStack() as after:
        try:
            change(after, *sys.argv[2:])
        except OSError as error:
            pipe.send(str(error))
            return
        pipe.send("")
        with contextlib.suppress(EOFError, ConnectionError):
            pipe.recv()
