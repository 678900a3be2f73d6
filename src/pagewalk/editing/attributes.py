"""Operations that change what pages are, where they are: rights, memory type, key, and the bits left to software."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.editing.draft import PAGES
from pagewalk.errors import EditError, UnsupportedError
from pagewalk.formats import Flag, Kind
from pagewalk.formats.leaf import by_meaning, present_again, regranted, renumbered, software_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.editing.draft import Draft, Slots

    Words = npt.NDArray[np.uint64]

__all__ = ["protect", "set_number", "set_software"]


def protect(draft: Draft, span: tuple[int, int], rights: Flag, *, split: bool) -> None:
    """Give the pages of a range these rights and no others; ``----`` is the operating system's PROT_NONE.

    Raises:
        EditError: No page is there; a table above withholds a right.
        NeedsSplit: A page reaches out of the range.
        UnsupportedError: The format cannot say it.
    """
    if not rights:
        _take_all(draft, span, split=split)
        return

    def granting(pages: Slots) -> Words:
        level, entries = pages.level, pages.entries.copy()
        hidden = pages.kinds == Kind.PROT_NONE
        if hidden.any():
            entries[hidden] = present_again(level, entries[hidden])
        changed: Words = level.arrays.changed(entries, lambda entry: regranted(level, entry, rights))
        return changed

    _each_page(draft, span, granting, split=split)


def _take_all(draft: Draft, span: tuple[int, int], *, split: bool) -> None:
    """Take every right from the pages of a range. Those of groups stand alone then, as the operating system's do."""
    draft.fit(*span, split=split)
    for slots in draft.slots(*span):
        pages = slots.of((Kind.PRESENT,))
        grouped = np.broadcast_to(pages.level.arrays.is_grouped(pages.entries), len(pages)) if len(pages) else ()
        for at in np.flatnonzero(grouped).tolist():
            draft.divide(pages, at)

    def hiding(pages: Slots) -> Words:
        present = pages.kinds == Kind.PRESENT
        entries = pages.entries.copy()
        try:
            entries[present] = pages.level.without_rights(entries[present])
        except ValueError as error:
            raise UnsupportedError(f"pages without any rights: {error}; unmap them instead") from None
        return entries

    _each_page(draft, span, hiding, split=split)


def set_number(draft: Draft, span: tuple[int, int], name: str, number: int, *, split: bool) -> None:
    """Give the pages of a range another memory type or protection key.

    Args:
        draft: What is changed.
        span: The range's start and end.
        name: ``MEMORY`` or ``KEY``.
        number: Its number.
        split: Split pages that reach out of the range; else they are refused.

    Raises:
        EditError: No page is there.
        NeedsSplit: A page reaches out of the range.
        UnsupportedError: The format cannot say it.
    """

    def numbering(pages: Slots) -> Words:
        level = pages.level
        changed: Words = level.arrays.changed(pages.entries, lambda entry: renumbered(level, entry, name, number))
        return changed

    _each_page(draft, span, numbering, split=split)


def set_software(draft: Draft, span: tuple[int, int], mask: int, value: int, *, split: bool) -> None:
    """Set bits of the pages' entries that hardware and operating system leave to anybody.

    Args:
        draft: What is changed.
        span: The range's start and end.
        mask: The bits.
        value: How they shall be.
        split: Split pages that reach out of the range; else they are refused.

    Raises:
        EditError: No page is there.
        NeedsSplit: A page reaches out of the range.
        UnsupportedError: A bit means something.
        ValueError: The value has bits beside the mask.
    """
    if value & ~mask:
        raise ValueError(f"the value {value:#x} has bits that the mask {mask:#x} has not")

    def setting(pages: Slots) -> Words:
        level = pages.level
        for entry, _ in by_meaning(level, pages.entries):
            if taken := mask & ~software_bits(level, entry):
                name = f"{draft.tables.format.name} under {draft.tables.format.system}"
                raise UnsupportedError(f"bits {taken:#x} of {level.real_name} entries mean something in {name}")
        return pages.entries & np.uint64(mask ^ (1 << 64) - 1) | np.uint64(value)

    _each_page(draft, span, setting, split=split)


def _each_page(draft: Draft, span: tuple[int, int], changed: Callable[[Slots], Words], *, split: bool) -> None:
    """Change the pages of a range, those of one level at a time.

    Raises:
        EditError: There are none.
        NeedsSplit: One reaches out of the range.
    """
    draft.fit(*span, split=split)
    met = False
    for slots in draft.slots(*span):
        pages = slots.of(PAGES)
        if len(pages):
            met = True
            draft.put(pages, changed(pages))
    if not met:
        raise EditError(f"no page is mapped in [{span[0]:#x}, {span[1]:#x})", span[0])
