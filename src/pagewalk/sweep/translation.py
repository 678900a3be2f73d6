"""Many virtual addresses translated at once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.doors import word_array
from pagewalk.errors import NonCanonical
from pagewalk.formats import NO_PADDR, Kind, Rights
from pagewalk.formats.access import right_of
from pagewalk.formats.codec import KIND_SHIFT, KINDS
from pagewalk.formats.grants import code_of, permitted
from pagewalk.sweep.fast import FastWay, way_for
from pagewalk.sweep.findings import Findings
from pagewalk.sweep.reader import tables_of
from pagewalk.sweep.source import Source
from pagewalk.tables import PageTables, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import Level, Window
    from pagewalk.space import AddressSpace

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Granted = npt.NDArray[np.uint8] | None
    States = npt.NDArray[np.uint32] | int
    Span = tuple[int, int, int]
    Way = tuple[list[Span], "_Way | None"]

__all__ = ["translate"]

_AT_ONCE: Final = 1 << 16
_MIDDLE: Final = 1 << 63
_WORTH_IT: Final = 256
"""Addresses from which on the compiled kernel is made ready."""


def translate(
    tables: PageTables | AddressSpace,
    vaddrs: npt.NDArray[Any] | Sequence[int],
    *,
    hardware: bool = False,
    access: str | None = None,
    findings: list[TranslationError] | None = None,
) -> tuple[Words, Mask]:
    """Translate virtual addresses, a level at a time for all of them.

    Args:
        tables: Page tables, or an address space for its tables.
        vaddrs: Virtual addresses in bytes. Shape (n,), uint64 or other non-negative integers.
        hardware: Answer as the MMU would: a PROT_NONE page is not there.
        access: Answer as the MMU would to an access: ``user-read``, ``user-write``, ``user-execute``, or the same of
            ``kernel``. What it refuses is not there, by the rights of all levels, and by what registers make of them.
        findings: Collects what is wrong with the tables or the addresses, instead of raising the first.

    Returns:
        Physical addresses in bytes, shape (n,), uint64, and a mask of those that are mapped (with ``access``, of those
        where it is let through), shape (n,), bool. Elsewhere, and where the frame is not known, the address is
        ``NO_PADDR``.

    Raises:
        NonCanonical, ReservedBits, Malformed: As ``PageTables.translate``, and ``findings`` is None.
        TypeError, ValueError: Not addresses, or no such access.
    Source: Intel SDM vol. 3A, 5.5.4 (4-level and 5-level paging), 5.6 (rights).
    """
    right = None if access is None else right_of(access)
    tables = tables_of(tables)
    addresses: Words = word_array(vaddrs, "an address")
    paddrs = np.full(len(addresses), NO_PADDR, np.uint64)
    mapped = np.zeros(len(addresses), np.bool_)
    found = Findings(tables, findings)
    source = Source(tables.memory, tables.format)
    ways: list[Way] = []
    for windows in _by_root(tables.windows):
        barred = right is not None and windows[0].bars(right)
        ways.append((_spans(windows), None if barred else _Way(tables, windows, (hardware, right), found, source)))
    nowhere: list[int] = []
    for first in range(0, len(addresses), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        nowhere += _translated(
            ways, addresses[some], (paddrs[some], mapped[some]), compiled=len(addresses) >= _WORTH_IT
        )
    for vaddr in nowhere:
        found.add(NonCanonical(vaddr, -1, 0, f"not canonical: {tables.format.name} has {told(tables.windows)}"))
    found.close()
    return paddrs, mapped


def _translated(ways: Sequence[Way], addresses: Words, out: tuple[Words, Mask], *, compiled: bool) -> list[int]:
    """Translate a part of the addresses; returns those that no window has. No way: nothing is let through."""
    left: Mask | None = None
    for spans, way in ways:
        inside = _inside(spans, addresses)
        if inside.all():
            if way is not None and not (compiled and way.compiled(addresses, out)):
                way.descend(addresses, np.arange(len(addresses)), out)
            return []
        places = np.flatnonzero(inside)
        if way is not None and len(places) and not (compiled and _scattered(way, addresses, places, out)):
            way.descend(addresses, places, out)
        left = ~inside if left is None else left & ~inside
    return addresses[left].tolist() if left is not None else addresses.tolist()


def _scattered(way: _Way, addresses: Words, places: npt.NDArray[np.intp], out: tuple[Words, Mask]) -> bool:
    """Let the compiled way take the addresses at some places; whether it could."""
    some = np.full(len(places), NO_PADDR, np.uint64), np.zeros(len(places), np.bool_)
    if not way.compiled(addresses[places], some):
        return False
    for column, found in zip(out, some, strict=True):
        column[places] = found
    return True


def _by_root(windows: Sequence[Window]) -> list[list[Window]]:
    """Windows that are gone down from together: of one root, those without a system's entries above those with them."""
    found: dict[tuple[object, ...], list[Window]] = {}
    turns, layered = 0, True
    for window in sorted(windows, key=lambda window: window.start):
        turns += window.layered and not layered
        layered = window.layered
        found.setdefault((window.root, window.level, window.bits, turns, window.barred), []).append(window)
    return list(found.values())


def _spans(windows: Sequence[Window]) -> list[Span]:
    """Where windows lie: first address, bytes less one, ignored bits. The halves of an address space adjoin."""
    spans: list[Span] = []
    for window in sorted(windows, key=lambda window: window.start ^ _MIDDLE):
        start, length, ignored = window.start, window.end - 1 - window.start, window.ignored
        first, before, other = spans[-1] if spans else (0, 0, NO_PADDR)
        if not ignored | other and (first + before + 1) & NO_PADDR == start:
            spans[-1] = first, before + 1 + length, 0
        else:
            spans.append((start, length, ignored))
    return spans


def _inside(spans: Sequence[Span], vaddrs: Words) -> Mask:
    """Which addresses lie in any of the spans."""
    inside: Mask | None = None
    for start, length, ignored in spans:
        plain = vaddrs & np.uint64(NO_PADDR ^ ignored) | np.uint64(start & ignored) if ignored else vaddrs
        here = plain - np.uint64(start) <= np.uint64(length)
        inside = here if inside is None else inside | here
    return inside if inside is not None else np.zeros(len(vaddrs), np.bool_)


class _Way:
    """The way down for many addresses, from one root.

    Args:
        tables: The page tables.
        windows: The windows whose root it is, as ``_by_root`` has them.
        asked: Only what the MMU would translate; the right that all levels must grant, if one is asked for.
        findings: Takes what is wrong.
        source: Where tables are read from.
    """

    def __init__(
        self,
        tables: PageTables,
        windows: Sequence[Window],
        asked: tuple[bool, Rights | None],
        findings: Findings,
        source: Source,
    ) -> None:
        self._window = window = next((window for window in windows if window.layered), windows[0])
        self._bare = min((window.start for window in windows if not window.layered), default=NO_PADDR)
        self._levels = tuple(level for level in tables.format.levels_of(window) if not level.folded)
        self._source = source
        hardware, self._right = asked
        only = hardware or self._right is not None
        self._mapped = (Kind.PRESENT,) if only else (Kind.PRESENT, Kind.PROT_NONE)
        self._findings = findings

    def compiled(self, addresses: Words, out: tuple[Words, Mask]) -> bool:
        """Take addresses the compiled way; whether there is one, and it knows all that it meets."""
        fast = self._fast
        return fast is not None and fast.descend(addresses, *out)

    @cached_property
    def _fast(self) -> FastWay | None:
        """The compiled way, where there is one."""
        return way_for(self._levels, self._source, self._window.root, (self._mapped, self._bare, self._right))

    def descend(self, addresses: Words, places: npt.NDArray[np.intp], out: tuple[Words, Mask]) -> None:
        """Take the addresses at ``places`` from the root to their pages."""
        at = np.full(len(places), self._window.root, np.uint64)
        above, parent = at, None
        granted = None if self._right is None else np.full(len(places), int(Rights.all()), np.uint8)
        for level in self._levels:
            if not len(places):
                return
            vaddr = addresses[places] if len(places) < len(addresses) else addresses
            index = vaddr >> np.uint64(level.shift) & np.uint64(level.entries - 1)
            entry, found = self._source.slots(at, index, level)
            wrong = self._wrong(parent, level, (above, entry, vaddr), found)
            table = level.arrays.is_table(entry)
            ends = ~table
            if wrong is not None:
                table &= ~wrong
                ends &= ~wrong
            if ends.any():
                self._finish(level, (places, vaddr, entry), (ends, granted), out)
            if not table.any():
                return
            if not table.all():
                places, entry = places[table], entry[table]
                granted = None if granted is None else granted[table]
            if granted is not None:
                granted = granted & level.arrays.rights(entry)
            above, parent, at = entry, level, level.arrays.tables(entry)

    def _wrong(self, parent: Level | None, level: Level, asked: tuple[Words, Words, Words], found: Mask) -> Mask | None:
        """Which entries are not sound; None if all are."""
        above, entry, vaddr = asked
        wrong: Mask | None = None
        if not found.all():
            wrong = ~found
            if parent is None:
                self._findings.rootless(self._window)
            else:
                self._report(self._findings.missing, parent, above[wrong], vaddr[wrong])
        bad = level.arrays.wrong(entry)
        if bad is not None:
            bad &= found & ~level.codec.is_none(entry)
            self._report(self._findings.reserved, level, entry[bad], vaddr[bad])
            wrong = bad if wrong is None else wrong | bad
        return wrong

    @staticmethod
    def _report(report: Any, level: Level, entry: Words, vaddr: Words) -> None:
        """Report wrong entries: each value once, for the first address that meets it."""
        if len(entry):
            first = np.sort(np.unique(entry, return_index=True)[1])
            report(level, entry[first], vaddr[first])

    def _finish(
        self,
        level: Level,
        asked: tuple[npt.NDArray[np.intp], Words, Words],
        ends: tuple[Mask, Granted],
        out: tuple[Words, Mask],
    ) -> None:
        """Write down the addresses whose way ends at this level, by the rights that are granted on it."""
        places, vaddr, entry = asked
        arrays, (held, granted) = level.arrays, ends
        held = held & ~level.codec.is_none(entry)
        if not held.all():
            places, vaddr, entry = places[held], vaddr[held], entry[held]
            granted = None if granted is None else granted[held]
        states = arrays.states(entry)
        there = self._there(level, (vaddr, entry), states, granted)
        if there is not None:
            places, vaddr, entry = places[there], vaddr[there], entry[there]
            states = states if isinstance(states, int) else states[there]
        frame = arrays.addresses(entry, states, vaddr)
        paddrs, mapped = out
        mapped[places] = True
        unknown = frame == np.uint64(NO_PADDR)
        frame |= vaddr & np.uint64(level.span - 1)
        frame[unknown] = NO_PADDR
        paddrs[places] = frame

    def _there(self, level: Level, asked: tuple[Words, Words], states: States, granted: Granted) -> Mask | None:
        """Which entries are mapped and, where a right is asked for, let the access through; None: all."""
        vaddr, entry = asked
        kinds = states >> KIND_SHIFT & KINDS
        there = None if np.all(kinds == Kind.PRESENT) else np.isin(kinds, self._mapped) & np.ones(len(entry), np.bool_)
        if there is not None and Kind.PROT_NONE in self._mapped:
            there &= (kinds != Kind.PROT_NONE) | (vaddr < np.uint64(self._bare))
        if self._right is None or granted is None:
            return there
        there = np.ones(len(entry), np.bool_) if there is None else there
        pages = np.flatnonzero(there)
        of_pages = states if isinstance(states, int) else states[pages]
        code = code_of(granted[pages] & level.arrays.rights(entry[pages]), of_pages)
        there[pages] = permitted(level.codec.access, int(self._right)).take(code, mode="clip")
        return there
