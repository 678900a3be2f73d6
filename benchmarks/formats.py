"""The same tables in another format's encoding: what an entry costs there, as a ratio to x86-64.

How it works. An image's entries are written once more, word by word, as arm64 and RISC-V have them: the tables lie
where they lay, as full as they were, and map the same pages. The encodings stand here in numbers, as in ``images``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import pagewalk as pw
from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job
from benchmarks.images import FRAME, NX, D, Image
from benchmarks.listing import limit, sized
from benchmarks.native import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.frame import Scale
    from benchmarks.images import Words

COMPARED: Final = ("vaddr", "paddr", "kind", "depth")
BLOCK: Final = 1 << 20


def arm64(entries: Words) -> Words:
    """Stage 1 descriptors (Arm ARM, D8.3): pages AF, inner shareable, for EL0, never executed, dirty by AP[2]."""
    dirty = (entries & D != 0).astype(np.uint64)
    page = 1 << 54 | 1 << 53 | 1 << 51 | 1 << 10 | 3 << 8 | 1 << 6 | (1 - dirty) << 7
    return entries & FRAME | 3 | np.where(entries & NX != 0, page, 0)


def riscv(entries: Words) -> Words:
    """Privileged spec 20240411, 10.4: V alone points to a table; pages R, W, U, A, and D."""
    dirty = (entries & D != 0).astype(np.uint64) << 7
    return (entries & FRAME) >> 2 | 1 | np.where(entries & NX != 0, 2 | 4 | 16 | 64 | dirty, 0)


ENCODINGS: Final[Mapping[str, Callable[[Words], Words] | None]] = {
    "x86-64": None,
    "arm64-4k": arm64,
    "riscv-sv48": riscv,
}
"""Formats of four levels of 512 entries. In dense and sparse images no table's entry is no-execute, and every page's
is."""


@dataclass(frozen=True)
class Copy(Image):
    """An image in another format's encoding.

    Attributes:
        format: The format.
    """

    format: str = "x86-64"

    def path(self, folder: Path) -> Path:
        """The file in ``folder``, made when it is missing."""
        original = Image(self.shape, self.slots).path(folder)
        encode = ENCODINGS[self.format]
        path = original.with_suffix(f".{self.format}")
        if encode is None:
            return original
        if not path.exists():
            unfinished = path.with_suffix(".part")
            with unfinished.open("wb") as file:
                file.truncate(original.stat().st_size)
            words = self.tables_size // 8
            theirs = np.memmap(original, np.uint64, "r", shape=words)
            ours = np.memmap(unfinished, np.uint64, "r+", shape=words)
            for first in range(0, words, BLOCK):
                some = theirs[first : first + BLOCK]
                ours[first : first + BLOCK] = np.where(some != 0, encode(some), 0)
            unfinished.rename(path)
        return path


def tables(image: Copy, folder: Path) -> pw.PageTables:
    """Its tables, for the lower half alone: an arm64 root is of one half."""
    form = pw.formats.find_format(image.format)
    window = form.windows[0]._replace(root=image.root)
    return pw.PageTables(engine.memory(image, folder), format=form, windows=[window])


def by_rows(image: Copy, folder: Path, *, options: dict[str, Any]) -> Job:
    """Every page, into columns that are kept."""
    walker = limit(Image(image.shape, image.slots), folder)
    found = walker.listing(sized(walker, sizes=False))
    expected, entries = digest(found, *COMPARED), len(found["vaddr"])
    opened = tables(image, folder)
    engine.checked(lambda: engine.sweep.mappings(engine.small(), coalesce=False))
    kept = engine.sweep.Columns.allocate(entries, opened.format, coalesce=False)
    work = partial(engine.sweep.mappings, opened, coalesce=False, out=kept, **options)
    return Job(entries, work, lambda rows: digest(rows, *COMPARED), expected)


def by_count(image: Copy, folder: Path, *, options: dict[str, Any]) -> Job:
    """How many pages there are."""
    expected = sum(limit(Image(image.shape, image.slots), folder).counts().values())
    opened = tables(image, folder)
    engine.checked(lambda: engine.sweep.count(engine.small()))
    return Job(expected, lambda: engine.sweep.count(opened), lambda rows: int(rows["entries"].sum()), expected)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """Rows and counts, by each engine."""
    found = []
    for shape in ("dense", "sparse"):
        images = [Copy(shape, scale.pages, format=name) for name in ENCODINGS]
        for name, options, environment in engine.ENGINES:
            if options["threads"] == 1:
                for what, prepare in (("rows", by_rows), ("counts", by_count)):
                    cases = [Case(one.format, partial(prepare, one, options=options), environment) for one in images]
                    title = f"Formats, {what}, {name}: {shape}"
                    found.append(Benchmark(title, "entries", tuple(cases), tuple(images)))
    return found
