"""``python -m benchmarks.machines``: a listing through QEMU's doors, beside reading the same bytes in one go.

A machine without a guest has the tables: 2,048 of the last level, full of pages in runs of eight. Figures are medians
of rounds that take turns, and stand beside no others: what QEMU does for a byte is the most of it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from tests.real.bare import bare

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 7
TABLES, PER, PAGE = 2048, 512, 4096
ROOT, UPPER, MIDDLE, LAST = (at << 20 for at in (16, 17, 18, 20))
PRESENT = 0x67


class Recorded:
    """A memory that remembers what it was asked for.

    Args:
        memory: One of a machine.
    """

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.asked: list[tuple[list[int], int]] = []

    def read(self, paddr: int, size: int) -> bytes:
        """One run."""
        self.asked.append(([paddr], size))
        return bytes(self.memory.read(paddr, size))

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Many."""
        self.asked.append((list(paddrs), size))
        return list(self.memory.read_many(paddrs, size))


def plant(ram: Path, *, scattered: bool) -> None:
    """Write the tables into the file that is the machine's memory; side by side, or with as much between them."""
    words = np.memmap(ram, "<u8", "r+")
    step = (2 if scattered else 1) * PAGE
    last = LAST + step * np.arange(TABLES, dtype=np.uint64)
    middle = MIDDLE + PAGE * np.arange(TABLES // PER, dtype=np.uint64)
    words[ROOT // 8], words[UPPER // 8 : UPPER // 8 + len(middle)] = UPPER | PRESENT, middle | np.uint64(PRESENT)
    words[MIDDLE // 8 : MIDDLE // 8 + TABLES] = last | np.uint64(PRESENT)
    frames = np.arange(PER, dtype=np.uint64)
    leaves = (frames // np.uint64(8) * np.uint64(16) + frames % np.uint64(8)) * np.uint64(PAGE) | np.uint64(PRESENT)
    for at in last.tolist():
        words[at // 8 : at // 8 + PER] = leaves
    words.flush()


def measured(source: pw.Source) -> str:
    """A line of figures."""
    memory: Any = Recorded(source.memory)
    tables = pw.PageTables(memory, ROOT)
    rows = pw.mappings(tables)
    (journeys, *_), bytes_ = (len(memory.asked),), sum(len(paddrs) * size for paddrs, size in memory.asked)
    places = [paddr for paddrs, _ in memory.asked for paddr in paddrs]
    listing, once = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        pw.mappings(tables)
        middle = time.perf_counter()
        source.memory.read_many(places, PAGE)  # type: ignore[attr-defined]
        listing.append(middle - begin)
        once.append(time.perf_counter() - middle)
    ratios = sorted(one / other for one, other in zip(listing, once, strict=True))
    return (
        f"{len(rows):>9,} rows {journeys:>3} journeys {bytes_ >> 20:>3} MiB"
        f"  listing {statistics.median(listing):.3f} s  one go {statistics.median(once):.3f} s"
        f"  ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    """Both doors, tables side by side and apart."""
    for scattered in (False, True):
        with tempfile.TemporaryDirectory() as folder, bare(Path(folder), shared=True) as machine:
            plant(machine.ram, scattered=scattered)
            machine.ram.unlink()  # no file that pagewalk could map
            for door in ("qmp", "gdb"):
                with pw.source(f"{door}:{getattr(machine, door)}") as source:
                    what = "apart" if scattered else "side by side"
                    sys.stdout.write(f"{door}, {what:<13}{measured(source)}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
