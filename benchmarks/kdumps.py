"""``python -m benchmarks.kdumps``: a kdump listed, beside drgn reading the same pages in one pass.

The dump is of a machine of 4 GiB whose page tables alone are in it: 8,192 of the last level, apart, with frames in runs
of eight. Figures are medians of rounds that take turns.
"""

from __future__ import annotations

import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import drgn
import numpy as np

import pagewalk as pw
from tests.memory.kdumps import PAGE, Dump, written

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

ROUNDS = 9
TABLES, PER, RUN = 8192, 512, 8
PAGES = (4 << 30) // PAGE
ROOT, UPPER, MIDDLE, LAST = 16, 17, 18, 64
"""The first page of each level's tables."""
STEP = 100
"""Pages from one last table to the next."""
PRESENT = 0x67
PACKINGS = ("zlib", "lzo", "zstd", "raw")
INFO = (
    "OSRELEASE=6.12.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff81000000\nKERNELOFFSET=0\n"
    "NUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n"
)
"""What drgn asks a dump for before it reads a page."""


def tables() -> dict[int, bytes]:
    """The tables' pages, by number."""
    rng = np.random.default_rng(1)
    last = LAST + STEP * np.arange(TABLES, dtype=np.uint64)
    middle = MIDDLE + np.arange(TABLES // PER, dtype=np.uint64)
    pages = {ROOT: _table(np.full(1, UPPER, np.uint64)), UPPER: _table(middle)}
    pages |= {int(at): _table(part) for at, part in zip(middle, last.reshape(-1, PER), strict=True)}
    starts = rng.integers(0, PAGES // RUN, (TABLES, PER // RUN, 1)).astype(np.uint64) * np.uint64(RUN)
    frames = np.add(starts, np.arange(RUN, dtype=np.uint64), dtype=np.uint64).reshape(TABLES, PER)
    return pages | {int(at): _table(part) for at, part in zip(last, frames, strict=True)}


def _table(frames: npt.NDArray[np.uint64]) -> bytes:
    """A table of these frames."""
    entries = np.zeros(PER, "<u8")
    entries[: len(frames)] = frames * np.uint64(PAGE) | np.uint64(PRESENT)
    return entries.tobytes()


def dump(path: Path, packing: str) -> Path:
    """A dump of a machine that has them, and of which all else was left out."""
    text = INFO.encode()
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text
    others = frozenset(range(PAGES))
    path.write_bytes(written(Dump(tables(), packing=packing, machine=others, level=31, notes=note, limit=PAGES)))
    return path


def measured(path: Path) -> str:
    """A line of figures."""
    program = drgn.Program()
    program.set_core_dump(path)
    places = [PAGE * number for number in sorted(tables())]
    rows = len(pw.mappings(pw.open(path, root=PAGE * ROOT)))

    def listing() -> None:
        with pw.source(path) as source:
            pw.mappings(source.tables(root=PAGE * ROOT))

    def one_pass() -> None:
        for paddr in places:
            program.read(paddr, PAGE, physical=True)

    rounds = [(_seconds(listing), _seconds(one_pass)) for _ in range(ROUNDS)]
    return f"{len(places):,} pages {rows:,} rows" + "".join(
        _ratio(name, [(ours[at], theirs[at]) for ours, theirs in rounds]) for at, name in enumerate(("CPU", "wall"))
    )


def _seconds(job: Callable[[], None]) -> tuple[float, float]:
    """CPU time that it takes, and time by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    job()
    return time.process_time() - cpu, time.perf_counter() - wall


def _ratio(name: str, rounds: list[tuple[float, float]]) -> str:
    """Medians of rounds."""
    ours, theirs = zip(*rounds, strict=True)
    ratios = sorted(one / other for one, other in rounds)
    return (
        f"  {name}: listing {statistics.median(ours):.3f} s, drgn {statistics.median(theirs):.3f} s,"
        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    """A dump in each packing."""
    for packing in PACKINGS:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(f"{packing:<5}{measured(dump(Path(folder) / 'dump', packing))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
