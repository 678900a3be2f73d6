"""Operations that map memory and unmap it: install, remap, unmap, and markers such as guards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.editing.draft import PAGES
from pagewalk.errors import AlreadyMapped, EditError, UnsupportedError
from pagewalk.formats import Kind, made
from pagewalk.formats.bits import scattered
from pagewalk.formats.leaf import by_meaning
from pagewalk.sweep.install import install as sweep_install
from pagewalk.tables import Entry

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.editing.draft import Draft, Slots
    from pagewalk.formats import Leaf, Level

    Words = npt.NDArray[np.uint64]

__all__ = ["install", "mark", "remap", "unmap", "unmark"]


def install(draft: Draft, span: tuple[int, int], paddr: int, leaf: Leaf, page_size: int | None) -> None:
    """Map memory where nothing is.

    Args:
        draft: What is changed.
        span: The range's start and end.
        paddr: The physical address of its first byte.
        leaf: What its pages shall be.
        page_size: Bytes of a page; None: the smallest.

    Raises:
        AlreadyMapped: An entry in the range is not empty.
        UnsupportedError: The format has no pages of that size, or cannot say what they shall be.
        OutOfFrames: No frame for a table.
        ValueError: The address is misaligned, or too wide.
    """
    start, end = span
    form = draft.tables.format
    size = form.page_size if page_size is None else page_size
    level, order = _level_of(draft, start, size)
    if (start | end | paddr) % size:
        raise ValueError(f"pages of {size:#x} bytes: [{start:#x}, {end:#x}) or {paddr:#x} is not aligned to them")
    step = np.uint64(level.span)
    paddrs = np.arange((end - start) >> level.shift, dtype=np.uint64) * step + np.uint64(paddr)
    if paddr + end - start > 1 << form.physical_bits:
        raise ValueError(f"{form.name} has {form.physical_bits} bits of physical address: the memory ends beyond")
    entries = made(level, paddrs, leaf, order=order)
    if level.is_last:
        obstacle = sweep_install(draft.tables, start, end, entries, passing=())
    else:
        obstacle = _install_large(draft, start, level, entries)
    if obstacle is not None:
        raise _mapped(draft, obstacle)


def _level_of(draft: Draft, vaddr: int, size: int) -> tuple[Level, int]:
    """The level whose entries map pages of a size, and log2 of the entries that one spans."""
    levels = draft.tables.format.levels_of(draft.tables.window_of(vaddr))
    for level in reversed(levels):
        if not level.folded and size in level.page_sizes:
            return level, (size >> level.shift).bit_length() - 1
    sizes = ", ".join(f"{one:#x}" for one in draft.tables.format.page_sizes)
    raise UnsupportedError(f"{draft.tables.format.name} has no pages of {size:#x} bytes, but of {sizes}")


def _install_large(draft: Draft, start: int, level: Level, entries: Words) -> int | None:
    """Install entries above the last level, as the walk would, were that its lowest; what stands in the way."""
    for at, value in enumerate(entries.tolist()):
        vaddr = start + at * level.span
        entry = _reach(draft, vaddr, level)
        if entry is None or not entry.is_none:
            return vaddr
        entry.value = value
    return None


def _reach(draft: Draft, vaddr: int, level: Level) -> Entry | None:
    """The entry of a level for an address, under tables that are made where they are missing; None: a page is above."""
    tables = draft.tables
    table = tables.top(tables.window_of(vaddr))
    while table.level.depth < level.depth:
        entry = Entry(table, table.level.index(vaddr))
        if not table.level.folds:
            if entry.is_none:
                tables.grow(entry, vaddr)
            tables.check(entry.value, entry.level, vaddr)
            if not entry.is_table:
                return None
        table = tables.child(entry, vaddr)
    return Entry(table, table.level.index(vaddr))


def _mapped(draft: Draft, vaddr: int) -> AlreadyMapped:
    """The error for what stands in the way."""
    *_, entry = draft.tables.steps(vaddr)
    what = f"the {entry.level.real_name} entry is {entry.name} ({entry.value:#x})"
    return AlreadyMapped(f"{what}, and what is installed needs it empty: unmap it first", vaddr)


def unmap(draft: Draft, span: tuple[int, int], *, split: bool, free_tables: bool) -> list[int]:
    """Empty every entry of a range that maps a page or holds anything else.

    Args:
        draft: What is changed.
        span: The range's start and end.
        split: Split pages that reach out of it; else they are refused.
        free_tables: Unlink the tables of the range that are empty then.

    Returns:
        Where the tables are that were unlinked.

    Raises:
        NeedsSplit: A page reaches out of the range.
    """
    draft.fit(*span, split=split)
    for slots in draft.slots(*span):
        if len(slots):
            draft.put(slots, slots.level.none)
    return _unlink_empty(draft, *span) if free_tables else []


def _unlink_empty(draft: Draft, start: int, end: int) -> list[int]:
    """Unlink the tables of a range that have become empty, the lowest first."""
    freed: list[int] = []
    while some := draft.empty_tables(start, end):
        for entry in some:
            freed.append(int(entry.level.frame(entry.value)))
            entry.value = entry.level.none
    return freed


def remap(draft: Draft, span: tuple[int, int], paddr: int, *, split: bool) -> None:
    """Give the pages of a range other frames, one after the other; all else stays as it is.

    Raises:
        EditError: A page is not there.
        NeedsSplit: A page reaches out of the range.
        ValueError: A frame is misaligned for its page.
    """
    start, end = span
    draft.fit(start, end, split=split)
    covered = 0
    for slots in draft.slots(start, end):
        pages = slots.of(PAGES)
        if not len(pages):
            continue
        covered += len(pages) * pages.level.span
        draft.put(pages, _reframed(pages, start, paddr))
    if covered != end - start:
        raise EditError(
            f"not all of [{start:#x}, {end:#x}) is mapped: only pages that are there get other frames", start
        )


def _reframed(pages: Slots, start: int, paddr: int) -> Words:
    """Entries with other frames."""
    level = pages.level
    frames = pages.vaddrs - np.uint64(start) + np.uint64(paddr)
    done = pages.entries.copy()
    for entry, mask in by_meaning(level, pages.entries):
        some, row = frames[mask], level.decode(entry).row
        reach = row.reach | level.codec.left_open(level.codec.shape_of(row))
        if (wrong := some & np.uint64(reach ^ (1 << 64) - 1)).any():
            size = level.span << row.order
            raise ValueError(f"{int(some[wrong != 0][0]):#x} is not the address of a page of {size:#x} bytes")
        done[mask] = done[mask] & np.uint64(row.address_bits ^ (1 << 64) - 1) | scattered(row.address, some)
    return done


def mark(draft: Draft, span: tuple[int, int], name: str) -> None:
    """Put a marker, such as a guard, into every entry of a range; all must be empty.

    Raises:
        AlreadyMapped: One is not.
        UnsupportedError: The operating system of the format has no such marker.
        OutOfFrames: No frame for a table.
    """
    start, end = span
    try:
        entry = draft.tables.format.last.marked(name)
    except ValueError:
        raise UnsupportedError(
            f"{draft.tables.format.system} has no marker {name} in {draft.tables.format.name}"
        ) from None
    obstacle = sweep_install(draft.tables, start, end, entry, passing=())
    if obstacle is not None:
        raise _mapped(draft, obstacle)


def unmark(draft: Draft, span: tuple[int, int], name: str) -> None:
    """Empty the entries of a range that hold a marker; others stay as they are."""
    for slots in draft.slots(*span):
        chosen = [kind for kind in Kind if kind.label == name]
        marked = slots.of(chosen)
        if len(marked):
            draft.put(marked, marked.level.none)
