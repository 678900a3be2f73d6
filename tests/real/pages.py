"""What pagewalk and a guest's kernel say of each page, as arrays that can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

import pagewalk as pw
from tests.real.truth import FRAME, GUARD, PRESENT, SWAP, UFFD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.real.boot import Guest
    from tests.real.truth import Truth

__all__ = ["Pages", "Spoken", "differences", "leaves", "listed", "said"]

THERE = (pw.Kind.PRESENT, pw.Kind.PROT_NONE)


class Spoken(Protocol):
    """A guest whose program has spoken: one that runs, or one that is kept."""

    @property
    def truth(self) -> Truth: ...


class Pages(NamedTuple):
    """Pages by ascending address: frame in bytes (``pw.NO_PADDR``: none), and kind."""

    vaddrs: np.ndarray
    paddrs: np.ndarray
    kinds: np.ndarray


def said(guest: Spoken) -> Pages:
    """What its kernel says in pagemap: every page of every area that has something in it."""
    vaddrs, words = guest.truth.pages()
    there, swap = (words & np.uint64(bit) != 0 for bit in (PRESENT, SWAP))
    kinds = np.full(vaddrs.shape, int(pw.Kind.NONE), np.int64)
    kinds[swap] = int(pw.Kind.SWAP)
    kinds[swap & (words & np.uint64(GUARD) != 0)] = int(pw.Kind.GUARD)
    for name, kind in (("hwpoison", pw.Kind.HWPOISON), ("uffd_wp", pw.Kind.UFFD_WP), ("uffd_marker", pw.Kind.UFFD_WP)):
        kinds[swap & _inside(vaddrs, [guest.truth.plants[name][:2]])] = int(kind)
    shut = [(area.start, area.end) for area in guest.truth.areas if area.rights.startswith("---")]
    tracked = _inside(vaddrs, [guest.truth.plants["uffd_rwp"][:2]]) & (words & np.uint64(UFFD) != 0)
    kinds[there] = int(pw.Kind.PRESENT)
    kinds[there & (tracked | _inside(vaddrs, shut))] = int(pw.Kind.PROT_NONE)
    frames = (words & np.uint64(FRAME)) * np.uint64(guest.truth.page)
    paddrs = np.where(there, frames, np.uint64(pw.NO_PADDR))
    some = kinds != int(pw.Kind.NONE)
    order = np.argsort(vaddrs[some])
    return Pages(vaddrs[some][order], paddrs[some][order], kinds[some][order])


def leaves(guest: Guest) -> np.ndarray:
    """What pagewalk lists of its program, a row an entry."""
    tables = guest.tables()
    one = tables.windows[0]
    return pw.mappings(tables, one.start, min(one.end, guest.machine.architecture.kernel), coalesce=False)


def listed(rows: np.ndarray, page: int) -> Pages:
    """The pages of a listing, each huge one as many."""
    counts = (rows["size"] // np.uint64(page)).astype(np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    within = (np.arange(counts.sum()) - starts).astype(np.uint64) * np.uint64(page)
    paddrs, kinds = np.repeat(rows["paddr"], counts), np.repeat(rows["kind"], counts).astype(np.int64)
    there = np.isin(kinds, [int(kind) for kind in THERE])
    return Pages(
        np.repeat(rows["vaddr"], counts) + within, np.where(there, paddrs + within, np.uint64(pw.NO_PADDR)), kinds
    )


def differences(ours: Pages, theirs: Pages) -> list[str]:
    """Each page of which two do not say the same."""
    one, other = (
        {row[0]: row[1:] for row in zip(*(column.tolist() for column in pages), strict=True)}
        for pages in (ours, theirs)
    )
    return [
        f"{vaddr:#x}: pagewalk says {_told(one.get(vaddr))}, the kernel {_told(other.get(vaddr))}"
        for vaddr in sorted(one.keys() | other.keys())
        if one.get(vaddr) != other.get(vaddr)
    ]


def _told(page: tuple[int, int] | None) -> str:
    if page is None:
        return "nothing"
    paddr, kind = page
    return pw.Kind(kind).label + ("" if paddr == pw.NO_PADDR else f" at {paddr:#x}")


def _inside(vaddrs: np.ndarray, ranges: Iterable[tuple[int, int]]) -> np.ndarray:
    """Which addresses lie in one of some ranges."""
    found = np.zeros(vaddrs.shape, bool)
    for start, end in ranges:
        found |= (vaddrs >= np.uint64(start)) & (vaddrs < np.uint64(end))
    return found
