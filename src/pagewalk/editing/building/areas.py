"""A layout's regions as columns, each of them checked: where they are, what they say, whether two of them overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from pagewalk.doors import integer, not_negative, shortened, shown, word_array
from pagewalk.editing.building.outline import GUARD
from pagewalk.editing.building.sizes import page_sizes
from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import Flag, Leaf, kernel_of, rights_of
from pagewalk.formats.fields import MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from pagewalk.editing.building.outline import Outline, Region, Reserve
    from pagewalk.formats import Window

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.intp]

__all__ = ["STATES", "Areas", "Saying", "areas_of", "mask_of", "sizes_in"]

STATES: Final = {"accessed": Flag.ACCESSED, "dirty": Flag.DIRTY, "global": Flag.GLOBAL}
"""What may be said of a page's state."""


class Saying(NamedTuple):
    """What some regions say of their pages alike: what each shall be, and bits to set and to clear besides."""

    leaf: Leaf
    set: int = 0
    clear: int = 0


class Areas(NamedTuple):
    """Regions and reservations as columns: those of regions first, then those of reservations. Each of shape (n,).

    Attributes:
        vaddrs, sizes, paddrs: Where they are, and where they lead, in bytes, uint64.
        largest: The size of the largest page, uint64; 0: any.
        sayings: What each says: a number of ``said``; -1: nothing is mapped.
        roots: The number of the root whose it is; -1: of all.
        windows: The number of the window.
        repeats: Whether every page is the first one, bool.
        ranks: Its place in the file.
        said: What they say.
    """

    vaddrs: Words
    sizes: Words
    paddrs: Words
    largest: Words
    sayings: Numbers
    roots: Numbers
    windows: Numbers
    repeats: Mask
    ranks: Numbers
    said: tuple[Saying, ...]

    def some(self, chosen: Any) -> Areas:
        """Those at some places."""
        *columns, said = self
        return Areas._make([*(column[chosen] for column in columns), said])


def mask_of(bits: Any, what: str) -> int:
    """Bits of an entry.

    Raises:
        ValueError: They are no bits of one.
        TypeError: They are no integer.
    """
    if (bits := integer(bits, what)) >> 64:
        raise ValueError(f"{what} are bits of an entry, of which there are 64: not {shown(hex(bits))}")
    return bits


class _Check(NamedTuple):
    """The layout, and what is refused by the number of a region or a reservation."""

    layout: Outline
    every: Sequence[Region | Reserve]

    def __call__(self, wrong: Mask, why: Callable[[Region | Reserve], str]) -> None:
        """Refuse the first one for which a mask is set."""
        if wrong.any():
            one = self.every[int(np.argmax(wrong))]
            raise LayoutError(f"{self.layout.where(one)} {why(one)}")


def sizes_in(layout: Outline, window: Window) -> tuple[int, ...]:
    """The page sizes that may be used in a window, ascending."""
    levels = [level for level in layout.format.levels_of(window) if not level.folded]
    return tuple(page.size for page in reversed(page_sizes(levels, groups=layout.groups)))


def areas_of(layout: Outline) -> Areas:
    """The columns of a layout.

    Raises:
        LayoutError, UnsupportedError: As ``Layout``.
    """
    regions, reserves = layout.regions, layout.reserves
    check = _Check(layout, layout.every)
    said: dict[tuple[Any, ...], int] = {}
    sayings = [_saying(layout, region, said) for region in regions] + [-1] * len(reserves)
    vaddrs, sizes = _column(check, "vaddr"), _column(check, "size")
    paddrs = _column(check, "paddr", lambda one: getattr(one, "paddr", None), vaddrs)
    alone = layout.format.page_size
    unasked = [alone if one.repeat else layout.largest or 0 for one in regions] + [0] * len(reserves)
    largest = _column(
        check, "largest", lambda one: one.page if hasattr(one, "page") else one.largest, np.array(unasked)
    )
    numbers = {name: at for at, name in enumerate(layout.roots)} | {None: -1}
    roots = np.array([numbers[one.root] for one in check.every], np.intp)
    repeats = np.array([bool(getattr(one, "repeat", False)) for one in check.every], bool)
    windows = _windows(check, vaddrs, sizes)
    ranks = np.argsort(np.argsort([one.line or at for at, one in enumerate(check.every)], kind="stable"))
    leaves = tuple(_said(*key) for key in said)
    areas = Areas(vaddrs, sizes, paddrs, largest, np.array(sayings, np.intp), roots, windows, repeats, ranks, leaves)
    _check_sizes(check, areas)
    _check_frames(check, areas)
    _check_overlaps(check, areas.some(slice(len(regions))))
    return areas


def _column(check: _Check, name: str, get: Callable[[Any], Any] | None = None, default: Words | None = None) -> Words:
    """A column of numbers.

    Raises:
        LayoutError: One is no number, or has more than 64 bits.
    """
    values = [getattr(one, name) if get is None else get(one) for one in check.every]
    if default is not None:
        values = [int(other) if value is None else value for value, other in zip(values, default.tolist(), strict=True)]
    try:
        return word_array(values, name)
    except (TypeError, ValueError):
        for one, value in zip(check.every, values, strict=True):
            try:
                word_array([value], name)
            except (TypeError, ValueError) as error:
                raise LayoutError(f"{check.layout.where(one)}: {error}") from None
        raise


def _windows(check: _Check, vaddrs: Words, sizes: Words) -> Numbers:
    """The number of the window that each is in."""
    found = np.full(len(vaddrs), -1, np.intp)
    check(sizes == 0, lambda one: "has no bytes")
    for at, window in enumerate(check.layout.windows):
        offset, last = vaddrs - np.uint64(window.start), np.uint64(window.end - window.start - 1)
        found[(offset <= last) & (sizes - np.uint64(1) <= last - np.minimum(offset, last))] = at
    told = " and ".join(f"[{window.start:#x}, {window.end:#x})" for window in check.layout.windows)
    outside = "is outside the addresses of"
    check(found < 0, lambda one: f"{_span(one)} {outside} {check.layout.format.name}, which has {told}")
    return found


def _check_sizes(check: _Check, areas: Areas) -> None:
    """Refuse a page size that the format has not, and what is not whole pages."""
    page = np.uint64(check.layout.format.page_size)
    smallest = np.where(areas.repeats, areas.largest, page)
    for at, window in enumerate(check.layout.windows):
        sizes = sizes_in(check.layout, window)
        wrong = (areas.windows == at) & (areas.largest > 0) & ~np.isin(areas.largest, np.array(sizes, np.uint64))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise UnsupportedError(
                f"{check.layout.where(check.every[first])} asks for pages of {int(areas.largest[first]):#x} bytes: "
                f"{check.layout.format.name} has {', '.join(f'{size:#x}' for size in sizes)}"
            )
    for name, column in (("vaddr", areas.vaddrs), ("size", areas.sizes), ("paddr", areas.paddrs)):
        wrong = (column % smallest != 0) & ((areas.sayings >= 0) | (name != "paddr"))
        if wrong.any():
            first = int(np.argmax(wrong))
            why = f"is not a multiple of the page size {int(smallest[first]):#x}"
            raise LayoutError(
                f"{check.layout.where(check.every[first])} has the {name} {int(column[first]):#x}, which {why}"
            )


def _check_frames(check: _Check, areas: Areas) -> None:
    """Refuse physical addresses that the format cannot name."""
    bits = check.layout.format.physical_bits
    last, end = areas.paddrs + (areas.sizes - np.uint64(1)), np.uint64((1 << bits) - 1)
    last = np.where(areas.repeats, areas.paddrs, last)
    wrong = (areas.sayings >= 0) & ((last > end) | (areas.paddrs > last))
    if wrong.any():
        first = int(np.argmax(wrong))
        one = check.layout.regions[first]
        remedy = ": give it a paddr" if one.paddr is None else ""
        where = f"{check.layout.where(one)} leads to {int(areas.paddrs[first]):#x} and on"
        raise LayoutError(f"{where}, beyond physical addresses of {bits} bits{remedy}")


def _check_overlaps(check: _Check, areas: Areas) -> None:
    """Refuse regions of which one root has both, and which have an address in common."""
    common = np.flatnonzero(areas.roots < 0)
    common = common[np.argsort(areas.vaddrs[common])]
    _refuse_neighbours(check, areas, common)
    own = np.flatnonzero(areas.roots >= 0)
    own = own[np.lexsort((areas.vaddrs[own], areas.roots[own]))]
    _refuse_neighbours(check, areas, own)
    if len(common) and len(own):
        lasts = areas.vaddrs[common] + (areas.sizes[common] - np.uint64(1))
        at = np.searchsorted(lasts, areas.vaddrs[own])
        near = common[np.minimum(at, len(common) - 1)]
        both = (at < len(common)) & (areas.vaddrs[near] <= areas.vaddrs[own] + (areas.sizes[own] - np.uint64(1)))
        if both.any():
            first = int(np.argmax(both))
            _refuse_both(check, int(near[first]), int(own[first]))


def _refuse_neighbours(check: _Check, areas: Areas, order: Numbers) -> None:
    """Refuse that of regions by address, root by root, one reaches into the next."""
    lasts = areas.vaddrs[order] + (areas.sizes[order] - np.uint64(1))
    both = (lasts[:-1] >= areas.vaddrs[order[1:]]) & (areas.roots[order[:-1]] == areas.roots[order[1:]])
    if both.any():
        first = int(np.argmax(both))
        _refuse_both(check, int(order[first]), int(order[first + 1]))


def _refuse_both(check: _Check, first: int, second: int) -> NoReturn:
    """Refuse two regions that overlap, the later one by its name and place."""
    one, other = check.layout.regions[min(first, second)], check.layout.regions[max(first, second)]
    there = "" if one.line is None else f" on line {one.line}"
    what = f"region {shortened(one.name)!r}{there}, {_span(one)}"
    raise LayoutError(f"{check.layout.where(other)} {_span(other)} overlaps {what}: move one of them")


def _span(one: Region | Reserve) -> str:
    """A region's addresses."""
    return f"[{one.vaddr:#x}, {one.vaddr + one.size:#x})"


# -- what regions say --------------------------------------------------------------------------------------------------


def _saying(layout: Outline, region: Region, said: dict[tuple[Any, ...], int]) -> int:
    """The number of what a region says; -1: nothing is mapped.

    Raises:
        LayoutError: It says something that means nothing.
    """
    if region.rights == GUARD:
        return -1
    state = None if region.state is None else tuple(region.state)
    key = region.rights, region.memory, region.key, region.kernel, state, region.set, region.clear
    try:
        if (number := said.get(key)) is not None:
            return number
        memory = _memory(layout, region.memory)
        _said(region.rights, memory, *key[2:])
    except (TypeError, ValueError) as error:
        raise LayoutError(f"{layout.where(region)}: {error}") from None
    return said.setdefault((region.rights, memory, *key[2:]), len(said))


def _memory(layout: Outline, memory: int | str) -> int:
    """The number of a memory type.

    Raises:
        ValueError: No memory type has that name.
    """
    if not isinstance(memory, str):
        return not_negative(memory, MEMORY)
    names = [name.lower() for name in layout.memory_types]
    if memory.lower() not in names:
        known = ", ".join(dict.fromkeys(name for name in layout.memory_types if name)) or "without names: give a number"
        raise ValueError(f"{shown(memory)} is no memory type: {layout.format.name}'s are {known}")
    return names.index(memory.lower())


def _said(
    rights: str, memory: int, key: int, kernel: str | None, state: Sequence[str] | None, more: int, less: int
) -> Saying:
    """What a region says.

    Raises:
        ValueError: It means nothing.
        TypeError: A number is none.
    """
    flags = None if state is None else Flag(0)
    for name in state or ():
        if name not in STATES:
            raise ValueError(f"{shown(name)} is no state: those are {', '.join(STATES)}")
        flags = (flags or Flag(0)) | STATES[name]
    leaf = Leaf(
        rights_of(rights), memory, not_negative(key, "key"), flags, None if kernel is None else kernel_of(kernel)
    )
    return Saying(leaf, mask_of(more, "set"), mask_of(less, "clear"))
