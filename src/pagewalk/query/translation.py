"""Many virtual addresses translated at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.errors import NonCanonical
from pagewalk.formats import NO_PADDR, Kind
from pagewalk.query.decode import decode
from pagewalk.query.gather import Gather
from pagewalk.query.levels import Findings, tables_of

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

_AT_ONCE = 1 << 16


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
    addresses = _addresses(vaddrs)
    paddrs = np.full(len(addresses), NO_PADDR, np.uint64)
    mapped = np.zeros(len(addresses), np.bool_)
    sound = Findings(tables, findings)
    canonical = tables.format.is_canonical(addresses)
    _refuse(tables.format, addresses[~canonical], sound)
    gather = Gather(tables.memory, tables.format)
    for places in np.split(np.flatnonzero(canonical), range(_AT_ONCE, len(addresses), _AT_ONCE)):
        _descend(tables, gather, addresses, places, (paddrs, mapped), hardware, sound)
    return paddrs, mapped


def _addresses(vaddrs: npt.NDArray[Any] | Sequence[int]) -> Words:
    """The addresses as uint64, none of them changed on the way."""
    if not isinstance(vaddrs, np.ndarray):
        return np.array(vaddrs, np.uint64).reshape(len(vaddrs))
    if vaddrs.ndim != 1 or vaddrs.dtype.kind not in "ui":
        raise TypeError(f"addresses are integers in one dimension, not {vaddrs.dtype} of shape {vaddrs.shape}")
    if vaddrs.dtype.kind == "i" and len(vaddrs) and vaddrs.min() < 0:
        raise ValueError(f"a negative address: {vaddrs.min()}; addresses in the upper half are uint64")
    return vaddrs.astype(np.uint64, copy=False)


def _refuse(form: PagingFormat, vaddrs: Words, findings: Findings) -> None:
    """Addresses that are none."""
    (_, low), (high, _) = form.halves
    for vaddr in vaddrs.tolist():
        why = f"not canonical: {form.name} has addresses below {low:#x} and from {high:#x} on"
        findings.add(NonCanonical(vaddr, -1, 0, why))


def _descend(
    tables: PageTables,
    gather: Gather,
    addresses: Words,
    places: npt.NDArray[np.intp],
    out: tuple[Words, Mask],
    hardware: bool,
    findings: Findings,
) -> None:
    """Take the addresses at ``places`` from the root to their pages."""
    form = tables.format
    at = np.full(len(places), tables.root, np.uint64)
    above = at
    for level in form.real_levels:
        vaddr = addresses[places]
        index: Any = vaddr >> level.shift & (level.entries - 1)
        entry, found = gather.slots(at, index, level)
        _report(findings.missing, level, above, vaddr, ~found)
        wrong = found & form.is_valid(entry) & (form.reserved(entry, level) != 0)
        _report(findings.reserved, level, entry, vaddr, wrong)
        sound = found & ~wrong
        table = sound & form.is_table(entry, level)
        _finish(form, level, (places, vaddr, entry), sound & ~table, out, hardware)
        places, above = places[table], entry[table]
        at = form.table_paddr(above)
        if not len(places):
            return


def _report(report: Any, level: Level, entry: Words, vaddr: Words, bad: Mask) -> None:
    """Report wrong entries: each value once, for the first address that meets it."""
    if bad.any():
        first = np.sort(np.unique(entry[bad], return_index=True)[1])
        report(level, entry[bad][first], vaddr[bad][first])


def _finish(
    form: PagingFormat,
    level: Level,
    asked: tuple[npt.NDArray[np.intp], Words, Words],
    ends: Mask,
    out: tuple[Words, Mask],
    hardware: bool,
) -> None:
    """Write down the addresses whose way ends at this level."""
    places, vaddr, entry = asked[0][ends], asked[1][ends], asked[2][ends]
    frame, _, kind = decode(form, entry, level)
    there: Mask = kind == Kind.PRESENT
    if not hardware:
        there = there | (kind == Kind.PROT_NONE)
    places, vaddr, frame = places[there], vaddr[there], frame[there]
    paddrs, mapped = out
    mapped[places] = True
    paddrs[places] = frame + (vaddr & (level.span - 1)) * (frame != NO_PADDR)
