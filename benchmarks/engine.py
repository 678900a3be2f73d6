"""pagewalk's bulk engine as the benchmarks ask for it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from benchmarks.frame import Missing
from pagewalk import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.images import Image

__all__ = ["ENGINES", "Engine", "checked", "memory", "sweep", "tables"]

Engine = tuple[str, dict[str, Any], "Mapping[str, str]"]
"""A name, options, and the environment that chooses it."""

ENGINES: tuple[Engine, ...] = (
    ("NumPy", {"threads": 1}, {"PAGEWALK_ENGINE": "numpy"}),
    ("NumPy, 2 threads", {"threads": 2}, {"PAGEWALK_ENGINE": "numpy"}),
    ("Numba", {"threads": 1}, {"PAGEWALK_ENGINE": "numba"}),
    ("Numba, 2 threads", {"threads": 2}, {"PAGEWALK_ENGINE": "numba"}),
)


def memory(image: Image, folder: Path, *, parted: bool = False) -> pw.RawImage:
    """An image's file, all of its tables in memory; parted: in two segments, half of the tables in each."""
    path = image.path(folder)
    half, size = image.tables_size // 2, path.stat().st_size
    parts = [(0, 0, half), (half, half, size - half)] if parted else [(0, 0, size)]
    opened = pw.RawImage(path, segments=parts)
    for (start, _, _), segment in zip(parts, opened.segments, strict=True):
        np.frombuffer(segment.data, np.uint8)[: image.tables_size - start : 4096].sum()
    return opened


def tables(image: Image, folder: Path, *, parted: bool = False) -> pw.PageTables:
    """An image's tables."""
    return pw.PageTables(memory(image, folder, parted=parted), image.root)


def small() -> pw.PageTables:
    """Tables with one page and a place to grow, for what happens only once."""
    ram = pw.Ram(1 << 20)
    found = pw.PageTables(ram, 0, allocator=pw.RangeAllocator((4 * 4096, 1 << 20)))
    for at, entry in enumerate((0x1067, 0x2067, 0x3067, 0x12345067)):
        ram.write(at * 4096, entry.to_bytes(8, "little"))
    return found


def checked(warm_up: Callable[[], object]) -> None:
    """Run something small once, so that what is measured is not a compiler; make sure the wanted engine is there.

    Raises:
        Missing: Numba was asked for, and it is not installed or this pagewalk does not use it.
    """
    wanted = os.environ.get("PAGEWALK_ENGINE") == "numba"
    if wanted and not _installed():
        raise Missing("numba is not installed: the jit extra")
    warm_up()
    if wanted and "numba" not in sys.modules:
        raise Missing("this pagewalk does not use numba for it")


def _installed() -> bool:
    """Whether there is a numba, without importing it."""
    from importlib.util import find_spec

    return find_spec("numba") is not None
