"""Many virtual addresses translated at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.doors import word_array
from pagewalk.errors import NonCanonical
from pagewalk.formats import NO_PADDR, Kind
from pagewalk.sweep.bits import KIND_SHIFT, Codec, codec_of
from pagewalk.sweep.fast import FastWay, way_for
from pagewalk.sweep.findings import Findings
from pagewalk.sweep.reader import tables_of
from pagewalk.sweep.source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import Level, PagingFormat
    from pagewalk.space import AddressSpace
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["translate"]

_AT_ONCE: Final = 1 << 16
_WORTH_IT: Final = 256
"""Addresses from which on the compiled kernel is made ready."""


def translate(
    tables: PageTables | AddressSpace,
    vaddrs: npt.NDArray[Any] | Sequence[int],
    *,
    hardware: bool = False,
    findings: list[TranslationError] | None = None,
) -> tuple[Words, Mask]:
    """Translate virtual addresses, a level at a time for all of them.

    Args:
        tables: Page tables, or an address space for its tables.
        vaddrs: Virtual addresses in bytes. Shape (n,), uint64 or other non-negative integers.
        hardware: Answer as the MMU would: a PROT_NONE page is not there.
        findings: Collects what is wrong with the tables or the addresses, instead of raising the first.

    Returns:
        Physical addresses in bytes, shape (n,), uint64, and a mask of those that are mapped, shape (n,), bool. Where
        nothing is mapped, or the frame is not known, the address is ``NO_PADDR``.

    Raises:
        NonCanonical, ReservedBits, Malformed: As ``PageTables.translate``, and ``findings`` is None.
        TypeError, ValueError: Not addresses.
    Source: Intel SDM vol. 3A, 5.5.4 (4-level and 5-level paging).
    """
    tables = tables_of(tables)
    addresses: Words = word_array(vaddrs, "an address")
    paddrs = np.full(len(addresses), NO_PADDR, np.uint64)
    mapped = np.zeros(len(addresses), np.bool_)
    found = Findings(tables, findings)
    canonical = tables.format.is_canonical(addresses)
    if not canonical.all():
        _refuse(tables.format, addresses[~canonical], found)
    way = _Way(tables, hardware, found)
    fast = way.compiled() if len(addresses) >= _WORTH_IT else None
    for at in range(0, len(addresses), _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        out = paddrs[some], mapped[some]
        if fast is not None and canonical[some].all() and fast.descend(addresses[some], *out):
            continue
        places = np.flatnonzero(canonical[some])
        way.descend(addresses[some], places, out)
    found.close()
    return paddrs, mapped


def _refuse(form: PagingFormat, vaddrs: Words, findings: Findings) -> None:
    """Addresses that are none."""
    (_, low), (high, _) = form.halves
    for vaddr in vaddrs.tolist():
        why = f"not canonical: {form.name} has addresses below {low:#x} and from {high:#x} on"
        findings.add(NonCanonical(vaddr, -1, 0, why))


class _Way:
    """The way down for many addresses.

    Args:
        tables: The page tables.
        hardware: Only what the MMU would translate.
        findings: Takes what is wrong.
    """

    def __init__(self, tables: PageTables, hardware: bool, findings: Findings) -> None:
        self._tables = tables
        self._codec: Codec = codec_of(tables.format)
        self._source = Source(tables.memory, tables.format)
        self._mapped = (Kind.PRESENT,) if hardware else (Kind.PRESENT, Kind.PROT_NONE)
        self._findings = findings

    def compiled(self) -> FastWay | None:
        """The compiled way, where there is one."""
        return way_for(self._tables, self._source, self._mapped)

    def descend(self, addresses: Words, places: npt.NDArray[np.intp], out: tuple[Words, Mask]) -> None:
        """Take the addresses at ``places`` from the root to their pages."""
        form, codec = self._tables.format, self._codec
        at = np.full(len(places), self._tables.root, np.uint64)
        above = at
        for level in form.real_levels:
            if not len(places):
                return
            vaddr = addresses[places] if len(places) < len(addresses) else addresses
            index = vaddr >> np.uint64(level.shift) & np.uint64(level.entries - 1)
            entry, found = self._source.slots(at, index, level)
            wrong = self._wrong(level, (above, entry, vaddr), found)
            ends = self._ends(level, entry)
            if wrong is not None:
                table = ~ends & ~wrong
                ends &= ~wrong
            else:
                table = ~ends
            if ends.any():
                self._finish(level, (places, vaddr, entry), ends, out)
            if not table.any():
                return
            if not table.all():
                places, entry = places[table], entry[table]
            above, at = entry, codec.tables(entry)

    def _ends(self, level: Level, entry: Words) -> Mask:
        """Which entries are no tables."""
        table: Mask = self._tables.format.is_table(entry, level)
        return ~table

    def _wrong(self, level: Level, asked: tuple[Words, Words, Words], found: Mask) -> Mask | None:
        """Which entries are not sound; None if all are."""
        above, entry, vaddr = asked
        wrong: Mask | None = None
        if not found.all():
            wrong = ~found
            self._report(self._findings.missing, level, above[wrong], vaddr[wrong])
        if int(np.bitwise_or.reduce(entry)) & (level.reserved_leaf | level.reserved_table):
            form = self._tables.format
            bad = found & form.is_valid(entry) & (form.reserved(entry, level) != 0)
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
        self, level: Level, asked: tuple[npt.NDArray[np.intp], Words, Words], ends: Mask, out: tuple[Words, Mask]
    ) -> None:
        """Write down the addresses whose way ends at this level."""
        places, vaddr, entry = asked
        held = ends & (entry & self._codec.held_bits != 0)
        if not held.all():
            places, vaddr, entry = places[held], vaddr[held], entry[held]
        states = self._codec.states(entry, level)
        if isinstance(states, int):
            if states >> KIND_SHIFT not in self._mapped:
                return
        else:
            there = np.isin(states >> KIND_SHIFT, self._mapped)
            places, vaddr, entry, states = places[there], vaddr[there], entry[there], states[there]
        frame = self._codec.frames(entry, level, states)
        paddrs, mapped = out
        mapped[places] = True
        unknown = frame == np.uint64(NO_PADDR)
        frame |= vaddr & np.uint64(level.span - 1)
        frame[unknown] = NO_PADDR
        paddrs[places] = frame
