"""What a caller hands to a walk: the callbacks, the lock it demands, and the words the two speak.

The names are those of ``struct mm_walk_ops`` (``include/linux/pagewalk.h``, Linux 6.18). A callback returns None or 0
to go on, a positive int to end the walk with that result, a negative int for the matching ``WalkError``; an exception
it raises reaches the caller as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pagewalk.tables import Entry
    from pagewalk.walk.walker import Walk

    Result: TypeAlias = int | None
    EntryCallback: TypeAlias = Callable[[Entry, int, int, Walk], Result]

__all__ = [
    "PGWALK_RDLOCK",
    "PGWALK_VMA_RDLOCK_VERIFY",
    "PGWALK_WRLOCK",
    "PGWALK_WRLOCK_VERIFY",
    "SKIP",
    "Action",
    "WalkLock",
    "WalkOps",
]


class Action(Enum):
    """What ``walk.action`` asks for, in ``pud_entry`` and ``pmd_entry``."""

    SUBTREE = "descend, splitting a huge entry if something below has work"
    CONTINUE = "go to the next entry of this level"
    AGAIN = "look at this entry afresh"


class WalkLock(Enum):
    """Which lock a walk demands."""

    PGWALK_RDLOCK = "mmap_lock held, for reading at least"
    PGWALK_WRLOCK = "mmap_lock held for writing; the walk marks each VMA as being written"
    PGWALK_WRLOCK_VERIFY = "mmap_lock held for writing, and each VMA marked already"
    PGWALK_VMA_RDLOCK_VERIFY = "each VMA's own lock held, for reading at least"


PGWALK_RDLOCK: Final = WalkLock.PGWALK_RDLOCK
PGWALK_WRLOCK: Final = WalkLock.PGWALK_WRLOCK
PGWALK_WRLOCK_VERIFY: Final = WalkLock.PGWALK_WRLOCK_VERIFY
PGWALK_VMA_RDLOCK_VERIFY: Final = WalkLock.PGWALK_VMA_RDLOCK_VERIFY


class _Skip(Enum):
    """The type of ``SKIP``."""

    SKIP = "leave the slot empty and go on"

    def __repr__(self) -> str:
        return "SKIP"


SKIP: Final = _Skip.SKIP
"""Returned by ``install_pte``: leave this slot empty and go on. (Asked for in the patch's review; no kernel has it.)"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WalkOps:
    """The callbacks of a walk; every one optional.

    Attributes:
        pgd_entry, p4d_entry, pud_entry, pmd_entry: ``(entry, addr, next, walk)`` for every non-empty entry of the
            level, huge ones included, before its subtree.
        pte_entry: ``(entry, addr, next, walk)`` for every entry of the last level, empty ones too; with ``install_pte``
            only for those that exist.
        install_pte: ``(addr, next, walk)`` for every empty entry of the last level; returns the raw value to install,
            or ``SKIP``. Refused by the public walks.
        pte_hole: ``(addr, next, depth, walk)`` for every hole above the last level; depth -1 outside VMAs.
        hugetlb_entry: ``(entry, hmask, addr, next, walk)`` for each entry of a hugetlb VMA.
        test_walk: ``(addr, next, walk)`` before a VMA: 0 walk it, > 0 skip it.
        pre_vma, post_vma: ``(start, end, walk)`` and ``(walk)``, around a VMA.
        walk_lock: The lock that the walk demands.
    """

    pgd_entry: EntryCallback | None = None
    p4d_entry: EntryCallback | None = None
    pud_entry: EntryCallback | None = None
    pmd_entry: EntryCallback | None = None
    pte_entry: EntryCallback | None = None
    install_pte: Callable[[int, int, Walk], int | _Skip] | None = None
    pte_hole: Callable[[int, int, int, Walk], Result] | None = None
    hugetlb_entry: Callable[[Entry, int, int, int, Walk], Result] | None = None
    test_walk: Callable[[int, int, Walk], Result] | None = None
    pre_vma: Callable[[int, int, Walk], Result] | None = None
    post_vma: Callable[[Walk], Any] | None = None
    walk_lock: WalkLock = PGWALK_RDLOCK

    def __repr__(self) -> str:
        given = [field.name for field in fields(self) if field.name != "walk_lock" and getattr(self, field.name)]
        return f"<WalkOps {', '.join(given) or 'of nothing'}; {self.walk_lock.name}>"

    @property
    def entry_callbacks(self) -> tuple[EntryCallback | None, ...]:
        """The entry callbacks by depth, PGD to PTE."""
        return self.pgd_entry, self.p4d_entry, self.pud_entry, self.pmd_entry, self.pte_entry
