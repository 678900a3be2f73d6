"""Guests of ``real/machines.py`` of which their page tables are kept: ``python -m tests.kept NAME`` boots one for it.

What is kept of a guest: ``data/NAME.tables.xz``, the pages of its memory that are read while its tables are listed and
looked at as ``real/every_page.py`` does, packed as ``cut.py`` packs them; and ``data/NAME.said.json.xz``, its registers
and the lines that its program said.
"""

from __future__ import annotations

import json
import lzma
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import pagewalk as pw
from pagewalk.memory import Segment
from tests.cut import PAGE, Recorded, packed, unpacked
from tests.guests import DATA
from tests.real import truth
from tests.real.machines import MACHINES
from tests.real.obey import FILLED

if TYPE_CHECKING:
    from tests.real.boot import Guest
    from tests.real.machines import Machine
    from tests.real.truth import Truth

__all__ = ["KEPT", "Kept", "kept"]

KEPT: Final = (
    "x86_64-7.3-la57",
    "i386-6.1",
    "i386-6.1-pae",
    "arm64-4k-lpa2",
    "arm64-16k",
    "arm64-16k-lpa2",
    "riscv64-sv48",
    "riscv64-sv57",
)


@dataclass(frozen=True)
class Kept:
    """A guest that was: what tests ask of one that is (``real/boot.py``), so far as it is kept.

    Attributes:
        machine: What it was.
        registers: Those that say where its program's tables are.
        truth: What its program said.
        memory: From its first page that is kept to its last one; what is not kept is zero.
    """

    machine: Machine
    registers: dict[str, int]
    truth: Truth
    memory: pw.FlatMemory

    def tables(self) -> pw.PageTables:
        """Its program's page tables, by its registers alone."""
        return _opened(self.memory, self.machine, self.registers)


def kept(name: str) -> Kept:
    """A guest of ``KEPT``."""
    told = json.loads(lzma.decompress((DATA / f"{name}.said.json.xz").read_bytes()))
    pages = unpacked(lzma.decompress((DATA / f"{name}.tables.xz").read_bytes()))
    return Kept(MACHINES[name], told["registers"], truth.parse("\n".join(told["said"])), _spread(pages))


def _spread(pages: dict[int, bytes]) -> pw.FlatMemory:
    """Pages by physical address, in one segment."""
    first, last = min(pages), max(pages)
    data = np.zeros(last + PAGE - first, np.uint8)
    for at, page in pages.items():
        data[at - first : at - first + PAGE] = np.frombuffer(page, np.uint8)
    return pw.FlatMemory([Segment(first, data.data)])


def _opened(memory: pw.Memory, machine: Machine, registers: dict[str, int]) -> pw.PageTables:
    return pw.open(pw.Source(machine.name, "raw", memory), registers=registers, os=machine.os)


def pages_of(guest: Guest) -> dict[int, bytes]:
    """The pages of a guest that are kept: all its tables, and the first filled pages of each plant."""
    memory = pw.RawImage(guest.ram, base=guest.machine.architecture.base)
    recorded = Recorded(memory)
    tables = _opened(recorded, guest.machine, guest.registers)
    for window in tables.windows:
        pw.mappings(tables, window.start, window.end)
    for name, step in FILLED.items():
        for vaddr in guest.truth.planted(name)[: 2 * step : step]:
            tables.read(vaddr, 8)
    return {at: memory.read(at, PAGE) for at in recorded.pages}


def _compressed(pages: bytes) -> bytes:
    """Pages of tables: an entry is like the last one, so a byte like the one 8 bytes before it."""
    delta, rest = {"id": lzma.FILTER_DELTA, "dist": 8}, {"id": lzma.FILTER_LZMA2, "preset": 9}
    return lzma.compress(pages, filters=[delta, rest])


def main() -> None:
    """Keep a guest."""
    from tests.real.boot import booted

    (name,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, booted(MACHINES[name], Path(folder)) as guest:
        pages, lines = pages_of(guest), guest.console.read_text(errors="replace").replace("\r", "").split("\n")
        told = {"registers": guest.registers, "said": [line for line in lines if line.startswith("@ ")]}
    (DATA / f"{name}.tables.xz").write_bytes(_compressed(packed(pages)))
    (DATA / f"{name}.said.json.xz").write_bytes(lzma.compress(json.dumps(told).encode(), preset=9))
    print(f"{name}: {len(pages):,} pages, {len(told['said']):,} lines")


if __name__ == "__main__":
    main()
