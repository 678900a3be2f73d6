"""Machines without a guest: a stub of a few instructions turns the MMU on with tables that were built, and tells.

Each access that the stub is asked for is one line of what it says over the UART: the word that was read, written or
handed back, or that it faulted.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.editing import Built

__all__ = ["DATA", "FAULT", "MAIL", "TABLES", "Board", "boot"]

STUBS: Final = Path(__file__).parent / "stubs"
CODE, MAIL, DATA, TABLES = 0x20_0000, 0x21_0000, 0x40_0000, 0x60_0000
"""Where things lie, from the beginning of the RAM on."""
DATA_SIZE: Final = 1 << 20
FAULT: Final = 0xFA17_FA17
SECONDS: Final = 60.0
READ, WRITE, CALL = range(3)


class Board(NamedTuple):
    """A machine.

    Attributes:
        emulator, machine, cpu: QEMU's words for it.
        compiler, options: What makes the stub.
        stub: Its file.
        base: Where its RAM begins.
        uart: Where its UART is; None: it is no memory.
        back: The instruction that returns, in 8 bytes with what fills them.
        registers: Which ones stand in the mailbox, and in how many words.
    """

    emulator: str
    machine: str
    cpu: str
    compiler: str
    options: tuple[str, ...]
    stub: str
    base: int
    uart: int | None
    back: int
    registers: tuple[str, ...]

    @property
    def word(self) -> int:
        """The bytes that it reads at a time."""
        return 4 if self.stub == "x86.S" and "-DLONG" not in self.options else 8


def boot(board: Board, built: Built, accesses: Sequence[tuple[int, int, int]]) -> list[int]:
    """What becomes of accesses: each is what to do, an address, and the word that is written.

    Raises:
        NotToBeHad: There is no QEMU, or no compiler.
        TimeoutExpired: It does not come to an end.
    """
    for tool in (board.emulator, board.compiler):
        if shutil.which(tool) is None:
            raise NotToBeHad(f"{tool} is not here")
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        stub = _compiled(board, at)
        words = [built.registers().get(name, 0) for name in board.registers]
        (at / "mail").write_bytes(struct.pack(f"<{len(words) + 1}Q", *words, len(accesses)) + _packed(accesses))
        (at / "data").write_bytes(_data(board))
        (at / "tables").write_bytes(built.data)
        places = {"mail": board.base + MAIL, "data": board.base + DATA, "tables": built.base}
        loaded = [f"loader,file={at / name},addr={place:#x},force-raw=on" for name, place in places.items()]
        return _said(board, stub, loaded, len(accesses))


def _packed(accesses: Sequence[tuple[int, int, int]]) -> bytes:
    return b"".join(struct.pack("<3Q", what, vaddr, word) for what, vaddr, word in accesses)


def _data(board: Board) -> bytes:
    """At every 16 bytes an instruction that returns, and behind it the address."""
    first = board.base + DATA
    return b"".join(struct.pack("<2Q", board.back, paddr) for paddr in range(first, first + DATA_SIZE, 16))


def _compiled(board: Board, folder: Path) -> Path:
    """The stub, as QEMU's ``-kernel`` or its loader takes it."""
    numbers = {"MAILBOX": board.base + MAIL, "START": board.base + CODE, "UART": board.uart or 0, "FAULT": FAULT}
    defined = [f"-D{name}={number:#x}" for name, number in numbers.items()]
    linked = ["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", f"-Wl,-Ttext={board.base + CODE:#x}", "-Wl,-n"]
    made = [board.compiler, *board.options, *defined, *linked, "-o", str(folder / "stub"), str(STUBS / board.stub)]
    subprocess.run(made, check=True, capture_output=True)
    return folder / "stub"


def _said(board: Board, stub: Path, loaded: Sequence[str], count: int) -> list[int]:
    """Run it, and read what it says."""
    words = [board.emulator, "-machine", board.machine, "-cpu", board.cpu, "-accel", "tcg", "-m", "128M"]
    words += ["-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio"]
    if board.uart is None:
        words += ["-kernel", str(stub)]
    else:
        words += ["-bios", "none"] if "riscv" in board.emulator else []
        words += ["-device", f"loader,file={stub},cpu-num=0"]
    for one in loaded:
        words += ["-device", one]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            return _lines(process, count)
        finally:
            process.kill()


def _lines(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """The lines of the UART up to the one that ends them."""
    import threading

    assert process.stdout is not None
    clock = threading.Timer(SECONDS, process.kill)
    clock.start()
    found: list[int] = []
    try:
        for line in process.stdout:
            if line.strip() == b".":
                assert len(found) == count
                return found
            found.append(int(line, 16))
    finally:
        clock.cancel()
    assert process.stderr is not None
    raise AssertionError(f"it ended after {len(found)} of {count} lines: {process.stderr.read().decode()[-500:]}")
