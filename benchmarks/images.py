"""Memory images made in the run: raw x86-64 tables, shuffled, the same for the same seed.

How it works. The tables stand at the front of the file, in random order; the pages they map lie behind them, where the
file is one hole and takes no room. Entries are made for some thousand tables at a time, in groups of neighbours that
are alike and whose frames follow each other, as a buddy allocator leaves them. Then each level hangs the one below it
into tables of its own. The encodings stand here in numbers, not taken from ``pagewalk``, which is what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Words = npt.NDArray[Any]  # of uint64; what it is after a shift, NumPy does not tell mypy

__all__ = ["Image", "Shape"]

Shape = Literal["dense", "sparse", "mixed"]

P, RW, US, A, D, PS, G = (1 << bit for bit in (0, 1, 2, 5, 6, 7, 8))
NX = 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
TABLE = P | RW | US | A | D
USER_PAGE = P | RW | US | A | NX
KERNEL_PAGE = P | RW | A | D | G | NX

GUARD, UFFD_WP = 0xFFFF_FFFF_FFFF_F600, 0xFFFF_FFFF_FFFF_FC00
EXCLUSIVE = 1 << 3
OFFSET = (1 << 50) - 1
HWPOISON_TYPE, MIGRATION_TYPE = 24, 26

PTE, PMD, PUD, PGD = 12, 21, 30, 39
USER, HUGE = 0x7E00_0000_0000, 0x7D00_0000_0000
DIRECT, VMALLOC, TEXT = 0x8880_0000_0000, 0xC900_0000_0000, 0xFFFF_8000_0000
SPACE = 1 << 48
BLOCK = 2048
SEED = 20

# What a group of neighbours holds in a mixed image, and how often.
GROUPS = ("present", "empty", "swap", "prot_none", "guard", "migration", "hwpoison", "uffd_wp")
SHARES = (0.74, 0.12, 0.06, 0.03, 0.04, 0.005, 0.002, 0.003)


@dataclass(frozen=True)
class Image:
    """One image: its shape, and the number of slots in tables of the last level.

    Attributes:
        shape: dense: every slot a present page. sparse: four pages a table. mixed: 4K, 2M and 1G pages, swap entries
            and markers, in both halves.
        slots: A multiple of 512.
    """

    shape: Shape
    slots: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.shape}-{self.slots}"

    def path(self, folder: Path) -> Path:
        """The file in ``folder``, made when it is missing."""
        path = folder / f"{self.name}.ram"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            SHAPES[self.shape](Builder(unfinished, self))
            unfinished.rename(path)
        return path

    @property
    def root(self) -> int:
        """Where the top table is: the one frame that is not shuffled."""
        return 0

    @property
    def tables_size(self) -> int:
        """Bytes of tables at the front of the file; what lies behind is never read."""
        most = self.slots // 512 + self.slots // 512 // 256 + 64
        return -(-most // 512) * 512 * 4096


class Builder:
    """A file of tables in the making.

    Args:
        path: The file.
        image: What it will be.
    """

    def __init__(self, path: Path, image: Image) -> None:
        self.leaves = image.slots // 512
        self.random = np.random.default_rng(SEED)
        most = image.tables_size // 4096
        self.first_frame = most
        with path.open("wb") as file:
            file.truncate(image.tables_size + max(image.slots << PTE, 4 << PUD) * 2)
        self.grid: Words = np.asarray(np.memmap(path, np.uint64, "r+", shape=(most, 512)))
        self._frames = self.random.permutation(np.arange(1, most)).astype(np.uint64)
        self._taken = 0

    def take(self, count: int) -> Words:
        """Frames for tables, in no order."""
        self._taken += count
        return self._frames[self._taken - count : self._taken]

    def fill(self, base: int, count: int, entries: Callable[[int, int], Words]) -> tuple[Words, Words]:
        """Tables of the last level from ``base`` on; ``entries(first, tables)`` makes some, shape (tables * 512,).

        Returns:
            Their addresses, and the entries that point to them.
        """
        frames = self.take(count)
        for first in range(0, count, BLOCK):
            some = frames[first : first + BLOCK]
            self.grid[some] = entries(first, len(some)).reshape(len(some), 512)
        vaddrs = base + (np.arange(count, dtype=np.uint64) << PMD)
        return vaddrs, frames << 12 | TABLE

    def hang(self, shift: int, *parts: tuple[Words, Words]) -> tuple[Words, Words]:
        """Put entries of one level into tables of that level.

        Args:
            shift: The level's.
            parts: Addresses and entries.

        Returns:
            The tables' addresses, and the entries that point to them.
        """
        vaddrs, entries = (np.concatenate(column) for column in zip(*parts, strict=True))
        which, row = np.unique(vaddrs >> (shift + 9), return_inverse=True)
        frames = self.take(len(which)) if shift < PGD else np.zeros(1, np.uint64)
        self.grid[frames[row], vaddrs >> shift & 511] = entries
        return which << (shift + 9), frames << 12 | TABLE

    def groups(self, slots: int, length: int) -> tuple[npt.NDArray[np.intp], Words]:
        """Slots in groups of ``length`` on average: the group of each, and its frame, groups in random order."""
        breaks = self.random.random(slots) < 1 / length
        breaks[0] = True
        group = np.cumsum(breaks) - 1
        sizes = np.bincount(group)
        order = self.random.permutation(len(sizes))
        begins = np.empty(len(sizes), np.uint64)
        begins[order] = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
        inside = np.arange(slots) - np.flatnonzero(breaks)[group]
        return group, begins[group] + inside.astype(np.uint64)

    def pages(self, first: int, frames: Words, bits: Any) -> Words:
        """Present entries for frames counted from the ``first``-th data page."""
        return (frames + (self.first_frame + first)) << 12 | bits

    def dirty(self, group: npt.NDArray[np.intp]) -> Words:
        """The dirty bit, for every other group."""
        chosen: Words = self.random.integers(0, 2, int(group[-1]) + 1, np.uint64)[group] * D
        return chosen


def dense(build: Builder) -> None:
    """Every slot a page, runs of four frames on average."""

    def entries(first: int, tables: int) -> Words:
        group, frames = build.groups(tables * 512, 4)
        return build.pages(first * 512, frames, USER_PAGE | build.dirty(group))

    _finish(build, build.fill(USER, build.leaves, entries))


def sparse(build: Builder) -> None:
    """Four pages a table on average."""

    def entries(first: int, tables: int) -> Words:
        group, frames = build.groups(tables * 512, 4)
        there = build.random.random(tables * 512) < 4 / 512
        return build.pages(first * 512, frames, USER_PAGE | build.dirty(group)) * there

    _finish(build, build.fill(USER, build.leaves, entries))


def mixed(build: Builder) -> None:
    """Six tables in seven in the user half, between huge pages; the rest the kernel's."""
    kernel = build.leaves // 7
    user = build.leaves - kernel

    def theirs(first: int, tables: int) -> Words:
        return _mixture(build, first * 512, tables * 512)

    def ours(first: int, tables: int) -> Words:
        _, frames = build.groups(tables * 512, 8)
        there = build.random.random(tables * 512) < 0.9
        return build.pages((user + first) * 512, frames, KERNEL_PAGE) * there

    huge = _huge(build, HUGE, max(user // 4, 1), PMD, USER_PAGE)
    low = build.fill(USER, user, theirs), huge
    high = build.fill(VMALLOC, kernel, ours), _huge(build, TEXT, 16, PMD, KERNEL_PAGE & ~NX)
    direct = _huge(build, DIRECT, max(build.leaves // 8, 1), PMD, KERNEL_PAGE)
    giants = _huge(build, DIRECT + (1 << PGD), 64, PUD, KERNEL_PAGE), _huge(build, 1 << PGD, 16, PUD, USER_PAGE)
    build.hang(PGD, build.hang(PUD, build.hang(PMD, *low, *high, direct), *giants))


def _finish(build: Builder, leaves: tuple[Words, Words]) -> None:
    """The levels above tables of the last."""
    build.hang(PGD, build.hang(PUD, build.hang(PMD, leaves)))


def _huge(build: Builder, base: int, count: int, shift: int, bits: int) -> tuple[Words, Words]:
    """Huge pages from ``base`` on, in runs of four frames on average; a 1G page's frame is far away."""
    _, frames = build.groups(count, 4)
    vaddrs = base + (np.arange(count, dtype=np.uint64) << shift)
    first = 1 << (PUD - shift)
    return vaddrs, (frames % 4 if shift == PUD else frames) + first << shift | bits | PS


def _mixture(build: Builder, first: int, slots: int) -> Words:
    """Entries of every kind, in groups of eight on average."""
    group, frames = build.groups(slots, 8)
    kinds = build.random.choice(len(GROUPS), int(group[-1]) + 1, p=SHARES)[group]
    pages = build.pages(first, frames, USER_PAGE | build.dirty(group))
    numbers = pages >> 12 & (1 << 34) - 1
    choices = {
        "present": pages,
        "empty": np.zeros(slots, np.uint64),
        "swap": _swap(0, numbers) | EXCLUSIVE,
        "prot_none": pages ^ (FRAME | P | G),
        "guard": np.full(slots, GUARD, np.uint64),
        "migration": _swap(MIGRATION_TYPE, numbers),
        "hwpoison": _swap(HWPOISON_TYPE, numbers),
        "uffd_wp": np.full(slots, UFFD_WP, np.uint64),
    }
    return np.choose(kinds, [choices[name] for name in GROUPS])


def _swap(type_: int, offset: Words) -> Words:
    """Swap entries: the offset is stored inverted."""
    return type_ << 59 | (offset ^ OFFSET) << 9


SHAPES: dict[str, Callable[[Builder], None]] = {"dense": dense, "sparse": sparse, "mixed": mixed}
