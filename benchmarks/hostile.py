"""Small images that pretend to map everything: a listing costs what there is to read, or is refused soon."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.frame import Benchmark, Case, Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from benchmarks.frame import Scale

    Words = npt.NDArray[np.uint64]

TABLE: Final = 0x67
PAGE: Final = 0x8000_0000_0000_0067
TOTAL: Final = 512**4


def benchmarks(scale: Scale) -> list[Benchmark]:
    """Each image by count, which looks at a table once, and by the listings."""
    refused = f"holds {TOTAL:,} entries"
    return [
        _of("aliased, empty, 4 levels", partial(aliased, 4, [0]), runs=0, holes=2, pages=0),
        _of("aliased, empty, 5 levels", partial(aliased, 5, [0]), runs=0, holes=2, pages=0),
        _of("one page everywhere", partial(aliased, 4, [PAGE]), runs=2, holes=0, pages=refused),
        _of("two pages in turn everywhere", partial(aliased, 4, [PAGE, PAGE | 1 << 9]), runs=refused, holes=0),
        _of("tables that point to tables at random", tangle, runs="no more than", holes=0),
    ]


def aliased(levels: int, entries: list[int]) -> tuple[Words, str]:
    """A table a level, all entries of each pointing to the next; the last one repeats ``entries``."""
    words = np.zeros((levels, 512), np.uint64)
    for at in range(levels - 1):
        words[at] = (at + 1) << 12 | TABLE
    words[-1] = np.resize(np.array(entries, np.uint64), 512)
    return words, "x86-64" if levels == 4 else "x86-64-la57"


def tangle() -> tuple[Words, str]:
    """64 tables whose entries point to one another."""
    random = np.random.default_rng(1)
    return random.integers(0, 64, (64, 512)).astype(np.uint64) << np.uint64(12) | np.uint64(TABLE), "x86-64-la57"


def _of(name: str, image: Callable[[], tuple[Words, str]], **expected: int | str) -> Benchmark:
    """One image: how many rows each listing has, or what it is refused with."""
    cases = [Case("count", partial(by_count, image))]
    cases += [Case(f"NumPy, {what}", partial(by_listing, image, what, rows)) for what, rows in expected.items()]
    return Benchmark(f"Hostile: {name}", "listings", tuple(cases))


def _tables(image: Callable[[], tuple[Words, str]]) -> Any:
    """The page tables of an image."""
    from pagewalk.memory import FlatMemory, Segment
    from pagewalk.tables import PageTables

    words, form = image()
    return PageTables(FlatMemory([Segment(0, memoryview(words.tobytes()))]), 0, form)


def by_count(image: Callable[[], tuple[Words, str]], folder: Path) -> Job:
    """What there is, counted."""
    from pagewalk.sweep import count

    tables = _tables(image)
    return Job(1, lambda: count(tables), lambda rows: int(rows["entries"].sum()) >= 0, expected=True)


def by_listing(image: Callable[[], tuple[Words, str]], what: str, expected: int | str, folder: Path) -> Job:
    """A listing, or its refusal."""
    from pagewalk import sweep
    from pagewalk.errors import UnsupportedError

    tables = _tables(image)
    ask: dict[str, Callable[[], Any]] = {
        "runs": lambda: sweep.mappings(tables),
        "pages": lambda: sweep.mappings(tables, coalesce=False),
        "holes": lambda: sweep.holes(tables),
    }

    def work() -> str:
        try:
            return f"{len(ask[what]())} rows"
        except UnsupportedError as refusal:
            return str(refusal)

    right = f"{expected} rows" if isinstance(expected, int) else expected
    return Job(1, work, lambda found: right in found, expected=True)
