"""The walker: one descent, written once for all levels.

How it works. A walk goes over a range of a table's entries. At each entry above the last level it asks, in this
order:

1. Is it empty? Then it is a hole: reported, or, when installing, filled with a new table and walked like any other.
2. Is it sound? A table outside the memory or a reserved bit is raised, or collected if the walk was asked to.
3. Has this level a callback? It may change the entry, or say through ``walk.action`` to pass it over or look again.
4. ``has_work_below``: is there a lower callback, or an empty slot to install into? If not, on to the next entry.
5. ``must_split``: a huge page stands in the way of that work. It is replaced by a table of smaller ones.
6. If the entry now points to a table, the walk goes on inside it. If not, it changed while we looked: look again.

The kernel's ``mm/pagewalk.c`` (6.18) says the same in five functions, one a level. A folded level shows the same
entry as the level below, so steps 1, 2, 5 and 6 are left to the lowest level of the fold.
"""

from __future__ import annotations

import errno
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from operator import index as as_index
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer
from pagewalk.errors import Malformed, TranslationError, WalkError
from pagewalk.formats import Kind, Level
from pagewalk.tables import Entry
from pagewalk.walk.ops import ACTING, ENTRY_CALLBACKS, SKIP, Action

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from pagewalk.tables import Table
    from pagewalk.walk.ops import EntryCallback, Walk, WalkOps

__all__ = ["MAX_LOOKS", "Walker"]

MAX_LOOKS: Final = 64
"""How often a walk looks at one entry before it gives up with EAGAIN. (The kernel would go on for ever.)"""

_RETURNED: Final = "what install_pte returns"
_AGAIN: Final = object()
_NO_LOCK: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class _LevelPlan:
    """What a walk with given callbacks does at one level.

    Attributes:
        level: The level.
        is_last: It is the last one.
        callback: Its entry callback.
        takes_action: Whether the callback may set ``walk.action``.
        folds: The level below shows the same entry.
        hole_depth: The depth that a hole found here is reported with.
        handler_below: A lower level has an entry callback.
    """

    level: Level
    is_last: bool
    callback: EntryCallback | None
    takes_action: bool
    folds: bool
    hole_depth: int
    handler_below: bool


def _plan(levels: Sequence[Level], ops: WalkOps) -> tuple[_LevelPlan, ...]:
    """The plans of a window's levels, PGD to PTE."""
    callbacks = ops.entry_callbacks
    return tuple(
        _LevelPlan(
            level=level,
            is_last=level.is_last,
            callback=callbacks[depth],
            takes_action=ENTRY_CALLBACKS[depth] in ACTING,
            folds=level.folds,
            hole_depth=level.real_depth,
            handler_below=any(callbacks[depth + 1 :]),
        )
        for depth, level in enumerate(levels)
    )


class Walker:
    """Takes a walk over ranges of its tables.

    Args:
        walk: The walk, as its callbacks see it; how far it got is kept up to date there.
    """

    __slots__ = "_plans", "_warned", "ops", "tables", "walk"

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.ops = walk.ops
        self.tables = walk.tables
        self._plans: tuple[_LevelPlan, ...] = ()
        self._warned = False

    # -- the descent -------------------------------------------------------------------------------------------------

    def range(self, start: int, end: int) -> int:
        """Walk ``[start, end)`` from the top table; a positive result is what ended it early."""
        window = self.tables.window_of(start)
        self._plans = _plan(self.tables.format.levels_of(window), self.ops)
        try:
            table = self.tables.top(window)
        except Malformed as error:
            self.found(error)
            return 0
        return self._entries(table, start, end)

    def _entries(self, table: Table, addr: int, end: int) -> int:
        """Walk the entries of one table that cover ``[addr, end)``."""
        level = table.level
        plan = self._plans[level.depth]
        if plan.is_last:
            with self._table_lock(table):
                return self._last(table, addr, end)
        table.keep()
        try:
            while addr < end:
                next_ = level.end(addr, end)
                if result := self._settle(plan, Entry(table, level.index(addr)), addr, next_):
                    return result
                self.walk.addr = addr = next_
        finally:
            table.let_go()
        return 0

    def _settle(self, plan: _LevelPlan, entry: Entry, addr: int, next_: int) -> int:
        """Look at an entry until it holds still."""
        for _ in range(MAX_LOOKS):
            self.walk.addr = addr
            result = self._look(plan, entry, addr, next_)
            if result is not _AGAIN:
                return result
            entry.table.afresh(entry.index)
        what = f"the {plan.level.name} entry {entry.value:#x} at {addr:#x}"
        raise WalkError(errno.EAGAIN, f"{what} is no table, or kept changing, in {MAX_LOOKS} looks")

    def _look(self, plan: _LevelPlan, entry: Entry, addr: int, next_: int) -> Any:
        """One look at an entry above the last level: 0, a positive result, or _AGAIN."""
        below: Table | None = None
        if not plan.folds:
            if entry.is_none:
                if self.ops.install_pte is None:
                    return self.hole(addr, next_, plan.hole_depth)
                self._grow(entry, addr)
            sound, below = self._open(plan, entry, addr)
            if not sound:
                return 0
        if plan.callback is not None:
            self.walk.action = Action.SUBTREE
            if result := self.verdict(plan.callback(entry, addr, next_, self.walk)):
                return result
            entry.table.afresh(entry.index)
            below = None
            if plan.takes_action and self.walk.action is not Action.SUBTREE:
                return _AGAIN if self.walk.action is Action.AGAIN else 0
        if not self._has_work_below(plan, entry):
            return 0
        if plan.folds:
            return self._entries(self.tables.child(entry, addr), addr, next_)
        if self._must_split(entry):
            with self._table_lock(entry.table):
                if self._must_split(entry):
                    self.tables.split(entry, addr)
                    self.walk.tables_allocated += 1
            below = None
        return self._descend(plan, entry, addr, next_, below)

    def _grow(self, entry: Entry, addr: int) -> None:
        """Link a new table, unless another thread has just done so."""
        with self._table_lock(entry.table):
            if entry.is_none:
                self.tables.grow(entry, addr)
                self.walk.tables_allocated += 1

    def _table_lock(self, table: Table) -> AbstractContextManager[object]:
        """The lock that keeps other threads out of a table."""
        return _NO_LOCK if self.walk.mm is None else self.walk.mm.table_lock(table)

    def _descend(self, plan: _LevelPlan, entry: Entry, addr: int, next_: int, below: Table | None) -> Any:
        """Walk the table below an entry; opened anew if a callback or another thread may have changed it (None)."""
        if not entry.is_table:
            return 0 if self.walk.no_vma else _AGAIN
        if below is None:
            _, below = self._open(plan, entry, addr)
        return 0 if below is None else self._entries(below, addr, next_)

    # -- the two questions -------------------------------------------------------------------------------------------

    def _has_work_below(self, plan: _LevelPlan, entry: Entry) -> bool:
        """Whether anything below this entry is wanted: a lower callback, or an empty slot to install into.

        A present huge page has no empty slot: a walk that only installs leaves it whole.
        """
        if plan.handler_below:
            return True
        return self.ops.install_pte is not None and (plan.folds or not entry.is_leaf)

    def _must_split(self, entry: Entry) -> bool:
        """Whether a huge page stands in the way of work below: in a VMA only, raw tables are left alone."""
        return not self.walk.no_vma and (entry.is_leaf or entry.kind is Kind.MIGRATION)

    # -- the last level ----------------------------------------------------------------------------------------------

    def _last(self, table: Table, addr: int, end: int) -> int:
        """Walk the entries of a table of the last level."""
        walk, pte_entry, installing = self.walk, self.ops.pte_entry, self.ops.install_pte is not None
        size, first = table.level.span, table.level.index(addr)
        slots, none, is_none = table.slots, table.level.none, table.level.is_none
        table.keep()
        try:
            for at in range(first, first + (end - addr) // size):
                walk.addr = addr
                next_ = addr + size
                if installing and ((value := slots[at]) == none or is_none(value)):
                    self._install(Entry(table, at), addr, next_)
                elif pte_entry is not None and (result := pte_entry(Entry(table, at), addr, next_, walk)):
                    return self.verdict(result)
                addr = next_
        finally:
            table.let_go()
        walk.addr = addr
        return 0

    def _install(self, entry: Entry, addr: int, next_: int) -> None:
        """Ask ``install_pte`` for an empty entry's value, and set it."""
        walk, install_pte = self.walk, self.ops.install_pte
        assert install_pte is not None
        value: Any = install_pte(addr, next_, walk)
        if value is SKIP:
            return
        if type(value) is not int:
            value = integer(value, _RETURNED)
        if value < 0:
            raise WalkError(-integer(value, _RETURNED))
        if entry.table.level.decode(value).kind is Kind.NONE:
            value = integer(value, _RETURNED)
            raise ValueError(f"install_pte returned {value:#x} at {addr:#x}: not an entry; SKIP leaves the slot empty")
        entry.value = value
        walk.installed += 1
        if walk.vma is not None and walk.mm is not None:
            walk.mm.update_mmu_cache(walk.vma, addr, entry)
        elif not self._warned:
            self._warned = True
            warnings.warn(
                "install_pte in a walk without VMAs: no update_mmu_cache hook runs",
                RuntimeWarning,
                stacklevel=2,
            )

    # -- shared ------------------------------------------------------------------------------------------------------

    def hole(self, addr: int, next_: int, depth: int) -> int:
        """Report a hole, if anyone listens."""
        self.walk.addr = addr
        return 0 if self.ops.pte_hole is None else self.verdict(self.ops.pte_hole(addr, next_, depth, self.walk))

    def verdict(self, result: Any) -> int:
        """What a callback's return value means: 0 to go on, a positive result to end with.

        Raises:
            WalkError: It was negative: -errno.
            TypeError: It was not an int or None.
        """
        if result is None:
            return 0
        code = as_index(result)  # True and False too: whether to end
        if code < 0:
            raise WalkError(-code, f"a callback refused at {self.walk.addr:#x}")
        return code

    def _open(self, plan: _LevelPlan, entry: Entry, addr: int) -> tuple[bool, Table | None]:
        """Whether an entry is sound, and the table below it; raises what is wrong with it, or collects it.

        Raises:
            ReservedBits, Malformed: And the walk does not collect.
        """
        try:
            value = entry.value
            self.tables.check(value, plan.level, addr)
            below = self.tables.child(entry, addr) if plan.level.is_table(value) else None
        except TranslationError as error:
            self.found(error)
            return False, None
        return True, below

    def found(self, error: TranslationError) -> None:
        """Collect what is malformed, or raise it."""
        if self.walk.findings is None:
            raise error
        self.walk.findings.append(error)
