"""From page tables back to a layout: what the MMU maps, as regions named by number.

What an operating system keeps in entries that are not present is left out, and so is what it keeps in bits that are
left to software: built again, the layout maps the same, page by page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.editing.building.areas import STATES
from pagewalk.editing.building.layout import Layout, Region
from pagewalk.errors import UnsupportedError
from pagewalk.formats import (
    ENCRYPTED,
    FORMATS,
    NO_PADDR,
    Flag,
    Leaf,
    find_format,
    kernel_text,
    made,
    rights_of,
    rights_text,
)
from pagewalk.formats.access import ACCESSES, NO_RULES
from pagewalk.formats.flags import GRANTED, Rights, flags_of
from pagewalk.query import mappings, translate
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import PagingFormat

    Words = npt.NDArray[np.uint64]
    Rows = npt.NDArray[np.void]

__all__ = ["layout_of", "rights_at"]

_STATE: Final = int(Flag.ACCESSED | Flag.DIRTY | Flag.GLOBAL)
_FOLLOWS, _SAME = 1, 2


def layout_of(
    tables: PageTables, *, base: int = 0, name: str = "", findings: list[TranslationError] | None = None
) -> Layout:
    """The layout that page tables have.

    Args:
        tables: The page tables.
        base: Where they shall lie when they are built again.
        name: What messages call the layout.
        findings: Collects what is malformed, which is then left out, instead of raising the first.

    Returns:
        A region for each run of pages that are alike and follow each other, or are one and the same.

    Raises:
        UnsupportedError: The format is none that a layout can name, has an encryption bit, or frames are not known.
        ReservedBits, Malformed, MemoryReadError: As ``mappings``, and ``findings`` is None.
    """
    if tables.format.name not in FORMATS:
        raise UnsupportedError(f"no layout is of the format {tables.format.name}: known are {', '.join(FORMATS)}")
    if any(row.field(ENCRYPTED) for level in tables.format.hardware for row in level.rows):
        raise UnsupportedError(f"{name or 'the source'} has an encryption bit, which a layout cannot say")
    form = find_format(tables.format.name, "none")
    rows = mappings(tables, coalesce=False, hardware=True, findings=findings, limit=None)
    if (rows["paddr"] == np.uint64(NO_PADDR)).any():
        raise UnsupportedError(f"{name or 'the source'} does not tell all frames: a layout needs them (run it as root)")
    rights = rights_at(tables, rows["vaddr"], form)
    regions = _Regions(form)
    return Layout(
        format=form,
        regions=[regions.region(*run) for run in _runs(rows, rights)],
        base=base,
        bits=_bits(tables, form),
        name=name,
    )


def rights_at(tables: PageTables, vaddrs: Words, form: PagingFormat) -> npt.NDArray[np.uint8]:
    """What all levels together grant at addresses, as ``Rights``, whatever registers make of it."""
    levels = tuple(_without_rules(level) for level in tables.format.hardware)
    bare = PageTables(
        tables.memory,
        format=replace(tables.format, hardware=levels),
        windows=[window._replace(barred=()) for window in tables.windows],
    )
    found = np.zeros(len(vaddrs), np.uint8)
    for access, right in ACCESSES.items():
        _, granted = translate(bare, vaddrs, access=access, findings=[])
        found |= np.where(granted, np.uint8(right), np.uint8(0))
    allowed = [form.last.access.allowed(rights) for rights in range(64)]
    return np.array(allowed, np.uint8)[found]


def _without_rules(level: Any) -> Any:
    """A level of which registers say nothing."""
    fresh: Any = {"access": NO_RULES, "codec": None, "_shared": []}
    return replace(level, **fresh)


def _runs(rows: Rows, rights: npt.NDArray[np.uint8]) -> Iterator[tuple[int, ...]]:
    """Runs of pages: address, bytes, frame, page size, rights, state, memory, key, and whether all are one frame."""
    if not len(rows):
        return
    state = rows["flags"] & np.uint32(_STATE)
    alike = rows["vaddr"][1:] == rows["vaddr"][:-1] + rows["size"][:-1]
    for column in (rows["page_size"], rights, state, rows["memory"], rows["pkey"]):
        alike &= column[1:] == column[:-1]
    step = rows["paddr"][1:] - rows["paddr"][:-1]
    link = np.where(alike & (step == rows["size"][:-1]), _FOLLOWS, np.where(alike & (step == 0), _SAME, 0))
    before = np.append(0, link[:-1])
    breaks = (link == 0) | ((link != before) & (before != 0))
    firsts = np.append(0, np.flatnonzero(breaks) + 1)
    lasts = np.append(firsts[1:], len(rows)) - 1
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        row = rows[first]
        vaddr, end = int(row["vaddr"]), int(rows["vaddr"][last]) + int(rows["size"][last])
        repeat = first < last and link[first] == _SAME
        yield (
            *(vaddr, end - vaddr, int(row["paddr"]), int(row["page_size"])),
            *(int(rights[first]), int(state[first]), int(row["memory"]), int(row["pkey"]), repeat),
        )


class _Regions:
    """Makes regions, each rights and state worked out once.

    Args:
        form: The format in which they will be built.
    """

    def __init__(self, form: PagingFormat) -> None:
        self.form = form
        self.count = 0
        self._said: dict[tuple[int, int], dict[str, Any]] = {}

    def region(self, vaddr: int, size: int, paddr: int, page: int, *said: int) -> Region:
        """The next region."""
        rights, state, memory, key, repeat = said
        if (rights, state) not in self._said:
            self._said[rights, state] = self._words(rights, state)
        words, self.count = self._said[rights, state], self.count + 1
        if size % page or vaddr % page:
            page = self.form.page_size  # part of a group
        return Region(
            str(self.count),
            vaddr,
            size,
            paddr=paddr,
            memory=memory,
            key=key,
            largest=page,
            repeat=bool(repeat),
            **words,
        )

    def _words(self, rights: int, state: int) -> dict[str, Any]:
        """Rights and state, as regions say them: what says itself is left out."""
        flags = flags_of(rights) & GRANTED
        words: dict[str, Any] = {"rights": rights_text(int(flags))}
        alone = self._made(flags, None)
        if alone is None or (rights ^ alone) & 7:
            words["kernel"] = kernel_text(rights)
        if state != int(Leaf(flags).flags):
            words["state"] = tuple(name for name, flag in STATES.items() if flag & state)
        return words

    def _made(self, flags: Flag, kernel: Rights | None) -> int | None:
        """What a page of some rights grants; None: there is none."""
        try:
            entry = made(self.form.last, 0, Leaf(rights_of(rights_text(int(flags))), kernel=kernel))
        except (UnsupportedError, ValueError):
            return None
        return self.form.last.access.allowed(self.form.last.decode(int(entry)).rights)


def _bits(tables: PageTables, form: PagingFormat) -> tuple[int, ...] | None:
    """The widths of windows, where they are not the format's own."""
    own = {window.start >> 63: window for window in form.windows}
    has = {window.start >> 63: window for window in tables.windows}
    widths = {half: (window.end - window.start).bit_length() - 1 for half, window in (own | has).items()}
    if all((window.start, window.end) == (own[half].start, own[half].end) for half, window in has.items()):
        return None
    return tuple(widths[half] for half in sorted(widths))
