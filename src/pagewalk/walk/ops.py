"""What a caller and a walk know of each other: the callbacks, what these see of the walk, the words both speak.

The names are those of ``struct mm_walk_ops`` (``include/linux/pagewalk.h``, Linux 6.18). A callback returns None or 0
to go on, a positive int to end the walk with that result, a negative int for the matching ``WalkError``; an exception
it raises reaches the caller as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import refuse_pickling

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pagewalk.errors import TranslationError
    from pagewalk.space import AddressSpace, Vma
    from pagewalk.tables import Entry, PageTables

    Result: TypeAlias = int | None
    EntryCallback: TypeAlias = Callable[[Entry, int, int, "Walk"], Result]

__all__ = [
    "ACTING",
    "ENTRY_CALLBACKS",
    "PGWALK_RDLOCK",
    "PGWALK_VMA_RDLOCK_VERIFY",
    "PGWALK_WRLOCK",
    "PGWALK_WRLOCK_VERIFY",
    "SKIP",
    "Action",
    "Walk",
    "WalkLock",
    "WalkOps",
]


ENTRY_CALLBACKS: Final = ("pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry")
"""The contract's names of the levels, by depth."""
ACTING: Final = frozenset({"pud_entry", "pmd_entry"})
"""Those that may set ``walk.action``."""


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
        """The entry callbacks by depth."""
        return tuple(getattr(self, name) for name in ENTRY_CALLBACKS)


class Walk:
    """A walk under way, as its callbacks see it; afterwards, how far it got.

    Attributes:
        ops: The callbacks.
        mm: The address space; None for a walk over raw tables.
        vma: The VMA being walked; None outside VMAs.
        tables: The page tables.
        pgd: Physical address of the top table.
        no_vma: Raw tables are walked.
        private: The caller's own.
        action: What to do after ``pud_entry`` or ``pmd_entry``; reset before each look.
        addr: The address being looked at; the range's end once it is done. Everything below it is done.
        installed: Entries installed so far.
        tables_allocated: Tables allocated so far, for holes and for splits.
        findings: Collects what is malformed; None to have it raised.
    """

    __slots__ = (
        "action",
        "addr",
        "findings",
        "installed",
        "mm",
        "no_vma",
        "ops",
        "private",
        "tables",
        "tables_allocated",
        "vma",
    )

    def __init__(
        self,
        tables: PageTables,
        ops: WalkOps,
        private: Any = None,
        *,
        mm: AddressSpace | None = None,
        findings: list[TranslationError] | None = None,
    ) -> None:
        self.tables = tables
        self.ops = ops
        self.private = private
        self.mm = mm
        self.vma: Vma | None = None
        self.no_vma = mm is None
        self.action = Action.SUBTREE
        self.addr = 0
        self.installed = 0
        self.tables_allocated = 0
        self.findings = findings

    def __repr__(self) -> str:
        return f"<Walk at {self.addr:#x}, {self.installed} installed, {self.tables_allocated} tables allocated>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "it belongs to the call that walks; hand on what it found")

    @property
    def pgd(self) -> int:
        """Physical address of the top table."""
        return self.tables.root
