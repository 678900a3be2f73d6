"""QEMU without a guest: its CPUs never begin, its memory is what a test writes. It is there in a moment."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.real.monitor import Monitor, connected
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Bare", "bare"]

SECONDS: Final = 30.0
SIZE: Final = 64 << 20


class Bare(NamedTuple):
    """A machine of 64 MiB that stands still.

    Attributes:
        process: QEMU.
        gdb, qmp: Its doors, which nobody uses.
        monitor: Another one, which the test uses.
        ram: The file that is its memory, if it has one.
    """

    process: subprocess.Popen[bytes]
    gdb: Path
    qmp: Path
    monitor: Monitor
    ram: Path


@contextmanager
def bare(folder: Path, *words: str, shared: bool = False, emulator: str = "qemu-system-x86_64") -> Iterator[Bare]:
    """A machine; ended afterwards, whatever happens.

    Args:
        folder: For its sockets.
        words: More for the command line.
        shared: Have its RAM be a file that others see.
        emulator: Which QEMU.

    Raises:
        NotToBeHad: There is no QEMU.
    """
    if shutil.which(emulator) is None:
        raise NotToBeHad(f"{emulator} is not here")
    doors = [
        word
        for option, name in (("-qmp", "qmp"), ("-qmp", "mine"), ("-gdb", "gdb"))
        for word in (option, f"unix:{folder / name},server=on,wait=off")
    ]
    file = ["-object", f"memory-backend-file,id=ram,size={SIZE},mem-path={folder / 'ram'},share=on"]
    memory = ["-machine", "q35,memory-backend=ram", *file] if shared else []
    nothing = ["-S", "-accel", "tcg", "-m", f"{SIZE}B", "-display", "none", "-nodefaults"]
    process = subprocess.Popen(
        [emulator, *nothing, *memory, *doors, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        connected(folder / "gdb", SECONDS).close()
        monitor = Monitor(folder / "mine", SECONDS)
        try:
            yield Bare(process, folder / "gdb", folder / "qmp", monitor, folder / "ram")
        finally:
            monitor.close()
    finally:
        process.kill()
        process.wait()
