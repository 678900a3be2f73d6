"""What proved candidates are together: which format explains them, which belong together, which are copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.sources.finding.kernels import COVERED, DirectMap, again_at, direct_map, pages_below
from pagewalk.sources.finding.proof import Seen, look_below

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.sources.finding.reader import Reader
    from pagewalk.sources.finding.reading import Reading
    from pagewalk.sources.finding.sieve import Candidates

    Mask = npt.NDArray[np.bool_]

__all__ = ["MOST", "SOME", "Kernel", "Proved", "Roots", "explained", "prove", "settle"]

_FIRST: Final = 1, 4
SOME, MOST = 16, 64
"""Tables of each level that are looked at of each candidate: first few, then as many, fewer where they are larger."""
_USUAL: Final = 4096
"""Bytes of most tables."""


@dataclass
class Proved:
    """Candidates of one reading that look like page tables.

    Attributes:
        reading: What they are taken for.
        candidates: They.
        seen: What is below them, in the user's part.
        users: Which are the root of a program.
    """

    reading: Reading
    candidates: Candidates
    seen: Seen
    users: Mask

    def only(self, which: Any) -> Proved:
        """Some of them."""
        return Proved(self.reading, self.candidates.only(which), self.seen.only(which), self.users[which])

    @property
    def roots(self) -> Any:
        """The addresses of the roots of programs."""
        return self.candidates.paddrs[self.users]

    @property
    def targets(self) -> Any:
        """The addresses of tables below them, of those that were looked at."""
        below = self.seen.only(self.users).below
        return below.paddrs[below.looked]


class Kernel(NamedTuple):
    """A kernel's own root.

    Attributes:
        at: Which candidate it is.
        image: Where it is mapped in the kernel's image; 0 where that lies in the direct map.
        direct: Its direct map.
    """

    at: int
    image: int
    direct: DirectMap


@dataclass
class Roots:
    """What one reading has in the end.

    Attributes:
        proved: The candidates.
        users: Which of them are roots of programs.
        twins: The user's root of those that have two, by the kernel's; as places among the candidates.
        direct: Each one's direct map, where it has been looked for.
        kernels: The kernels' own roots.
    """

    proved: Proved
    users: list[int]
    twins: dict[int, int]
    direct: dict[int, DirectMap]
    kernels: list[Kernel]


def prove(reader: Reader, reading: Reading, candidates: Candidates, most: int = MOST) -> Proved | None:
    """Those of some candidates that look like page tables; None: none does.

    Args:
        reader: Reads tables.
        reading: What they are taken for.
        candidates: They.
        most: Tables of each level that are looked at of each in the end.
    """
    if reading.shared:
        candidates = candidates.only(_with_twins(reader, reading, candidates))
    last = reading.user.steps[-1].level
    for few in _FIRST:
        seen = look_below(reader, reading, reading.user, candidates.rows, few)
        kept = seen.sound if reading.page.made_empty else seen.alive
        candidates, seen = candidates.only(kept), seen.only(kept)
    if not seen.proved.any():
        return None
    more = np.flatnonzero(seen.proved | (seen.leaves < 1))  # fakes lead to pages, and to none of a program
    most = most * _USUAL // last.table_bytes
    seen.put(more, look_below(reader, reading, reading.user, candidates.rows[more], most))
    users = seen.proved if reading.page.made_empty else seen.proved & seen.full
    found = Proved(reading, candidates, seen, users).only(seen.sound)
    return found if len(found.users) else None


def _with_twins(reader: Reader, reading: Reading, candidates: Candidates) -> Mask:
    """Which have the kernel's part, or lie behind one that has: a user's root has next to nothing of it."""
    alive = look_below(reader, reading, reading.kernel, candidates.rows, 1).alive
    twin, paddrs = np.uint64(reading.page.twin), candidates.paddrs
    if twin:
        alive |= (paddrs & twin != 0) & np.isin(paddrs - twin, paddrs[alive])
    return alive


def explained(found: list[Proved]) -> list[Proved]:
    """The readings that are left: a deeper one explains what the others take for roots, which are tables of its own."""
    kept: list[Proved] = []
    for one in sorted(found, key=lambda one: (-one.reading.depth, -one.reading.probe.size)):
        if not one.users.any():
            continue
        known = [np.concatenate([other.roots, other.targets]) for other in kept]
        if not any(np.isin(one.roots, others).mean() >= 0.5 for others in known):
            kept.append(one)
    return kept


def settle(reader: Reader, proved: Proved) -> Roots:
    """Kernels, pairs, and what is dropped, among the candidates of one reading."""
    direct, kernels = _kernels(reader, proved)
    twins = _twins(proved, direct)
    users = [at for at in np.flatnonzero(proved.users).tolist() if at not in twins.values()]
    if proved.reading.shared:
        users = [at for at in users if direct[at].covered >= COVERED]
    below = _below(proved, users)
    users = _apart(proved, [at for at in users if not below[at]])
    return Roots(proved, users, twins, direct, [kernel for kernel in kernels if not below[kernel.at]])


def _below(proved: Proved, users: list[int]) -> Mask:
    """Which candidates are tables of some roots: those are no roots."""
    seen = proved.seen.below
    targets = seen.paddrs[seen.looked & np.isin(seen.owners, users)]
    size = np.uint64(proved.reading.user.steps[-1].level.table_bytes)
    found: Mask = np.isin(proved.candidates.paddrs & ~(size - np.uint64(1)), targets)
    return found


def _kernels(reader: Reader, proved: Proved) -> tuple[dict[int, DirectMap], list[Kernel]]:
    """The direct maps of candidates, each distinct kernel's part looked at once; and the kernels' own roots."""
    reading, (paddrs, rows) = proved.reading, proved.candidates
    asked = np.flatnonzero(~proved.users)
    asked = asked[(proved.seen.user[asked] == 0) & _alone(reader, reading, proved.candidates.only(asked))]
    below = look_below(reader, reading, reading.kernel, rows[asked], SOME)
    asked = asked[below.sound & (below.last > 0)]  # some systems make its directories beforehand
    known: dict[bytes, DirectMap] = {}
    direct = {}
    for at in [*(np.flatnonzero(proved.users).tolist() if reading.shared else ()), *asked.tolist()]:
        key = reading.kernel.of(rows[at : at + 1]).tobytes()
        if key not in known:
            known[key] = direct_map(reader, reading.kernel, pages_below(reader, reading, reading.kernel, rows[at]))
        direct[at] = known[key]
    found = []
    for at in asked.tolist():
        if direct[at].covered < COVERED:
            continue
        if reading.page.kernel is not None:  # the image lies in the direct map
            if not proved.seen.words[at]:
                found.append(Kernel(at, 0, direct[at]))
        elif images := again_at(reader, reading, rows[at], int(paddrs[at]), direct[at]):
            found.append(Kernel(at, images[0], direct[at]))
    return direct, found


def _alone(reader: Reader, reading: Reading, candidates: Candidates) -> Mask:
    """Which candidates have a page to themselves, as a kernel's own root has: it is no slot of a slab."""
    level = reading.user.steps[-1].level
    entries, size = reading.probe.entries, np.uint64(level.table_bytes)
    good: Mask = candidates.paddrs % size == 0
    if entries < level.entries:
        rows, _ = reader.rows(candidates.paddrs[good], level, reading.form)
        good[good] = ~rows[:, entries:].any(axis=1)
    return good


def _twins(proved: Proved, direct: dict[int, DirectMap]) -> dict[int, int]:
    """Pairs: a root with the kernel's part, and right behind it one without, of the same program."""
    twin, part, head = proved.reading.page.twin, proved.reading.user, proved.reading.head
    paddrs, rows = proved.candidates
    where = {int(paddrs[at]): at for at in np.flatnonzero(proved.users).tolist()} if twin else {}
    found = {}
    for paddr, at in where.items():
        other = where.get(paddr + twin)
        if paddr & twin or other is None or not direct[other].covered < COVERED <= direct[at].covered:
            continue
        first, second = (head.tables_of(part.of(rows[one : one + 1])[0]) for one in (at, other))
        if np.array_equal(first, second):
            found[at] = other
    return found


def _apart(proved: Proved, users: list[int]) -> list[int]:
    """Roots that have tables of their own: two programs share a directory at most, and never those of the last level.

    A fake that leads to another's tables, at whatever level, has none. Of copies the one whose neighbours are roots
    too, as a slab's slots are, or else that with the most tables is no fake.
    """
    pages = proved.candidates.paddrs[users] // np.uint64(proved.reading.user.steps[-1].level.table_bytes)
    _, which, near = np.unique(pages, return_inverse=True, return_counts=True)
    neighbours = dict(zip(users, near[which].tolist(), strict=True))
    tables = _last_tables(proved, users)
    taken: set[int] = set()
    kept = []
    for at in sorted(users, key=lambda at: (-neighbours[at], -len(tables[at]), at)):
        if 2 * len(tables[at] & taken) < len(tables[at]):
            kept.append(at)
            taken |= tables[at]
    return sorted(kept)


def _last_tables(proved: Proved, users: list[int]) -> dict[int, set[int]]:
    """The tables of the last level that some roots lead to."""
    below = proved.seen.below
    paddrs, owners = below.paddrs[below.last], below.owners[below.last]
    order = np.argsort(owners, kind="stable")
    paddrs, owners = paddrs[order], owners[order]
    first, end = (np.searchsorted(owners, users, side).tolist() for side in ("left", "right"))
    return {at: set(paddrs[one:other].tolist()) for at, one, other in zip(users, first, end, strict=True)}
