"""What only the gdb stub of a running machine knows or does, through QEMU's machine protocol.

How it works. The human monitor shows x86's and RISC-V's (``info registers``), and of arm64's none that say where tables
are. Those are the gdb stub's to tell: the machine's own, if nobody uses it, else one that is started for the moment and
ended again. Connecting to it stops the machine for some milliseconds; one that stood still stays so. CPUs are told to
forget translations by the stub as well.
"""

from __future__ import annotations

import errno
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pagewalk.errors import ImageFormatError
from pagewalk.memory.machines.cpus import NAMES, are_enough
from pagewalk.memory.machines.hmp import cpus_of
from pagewalk.memory.machines.stub import Stub
from pagewalk.memory.machines.wire import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pagewalk.memory.machines.monitor import Monitor

__all__ = ["registers_of", "stub_of"]

_LABEL: Final = "gdb"
"""What QEMU calls the door of its stub."""
_FREE: Final = re.compile(r"disconnected:(?:unix:|tcp:)(.{1,200}?)(?:,server.*)?")


def registers_of(monitor: Monitor, seconds: float) -> tuple[tuple[Mapping[str, int], ...], tuple[str, ...]]:
    """The registers of each CPU, and what is missing of them, in a sentence each.

    Raises:
        OSError, ImageFormatError, UnsupportedError: The machine protocol does not answer.
    """
    cpus = cpus_of(monitor.human("info registers -a"), NAMES)
    if are_enough(cpus):
        return cpus, ()
    try:
        with stub_of(monitor, seconds) as stub:
            cpus = stub.cpus(NAMES)
    except (OSError, ImageFormatError) as error:
        return (), (f"it does not tell the registers of tables: only QEMU's gdb stub does, and {told(error)}",)
    return (cpus, ()) if are_enough(cpus) else ((), ("it does not tell the registers that say where tables are",))


@contextmanager
def stub_of(monitor: Monitor, seconds: float) -> Iterator[Stub]:
    """The machine's gdb stub, which holds it meanwhile; the machine then runs as it did.

    Raises:
        OSError, ImageFormatError: There is none to be had.
        UnsupportedError: The machine protocol refuses what is needed.
    """
    running = bool(monitor.ask("query-status").get("running"))
    with _address(monitor) as address:
        if address is None:
            raise OSError(errno.ECONNREFUSED, "a debugger is attached to its gdb stub", monitor.path)
        stub = Stub(address, seconds)
        try:
            yield stub
        finally:
            stub.leave(resume=running)


@contextmanager
def _address(monitor: Monitor) -> Iterator[str | None]:
    """Where the gdb stub listens; None: somebody is connected to it. One that is started here ends here."""
    doors = monitor.ask("query-chardev")
    names = [str(door.get("filename", "")) for door in doors if isinstance(door, dict) and door.get("label") == _LABEL]
    if names:
        match = _FREE.fullmatch(names[0])
        yield None if match is None else match[1]
        return
    with tempfile.TemporaryDirectory(prefix="pagewalk-") as folder:
        path = Path(folder) / "gdb"
        monitor.human(f"gdbserver unix:{path},server=on,wait=off")
        try:
            yield str(path)
        finally:
            monitor.human("gdbserver none")
