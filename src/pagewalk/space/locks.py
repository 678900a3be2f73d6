"""The locks that a walk may demand: ``mmap_lock``, and one a VMA.

They are real locks between threads. Who asks whether a lock is held asks for the current thread, as lockdep does.

How it works. Ctrl-C may come between any two steps of Python, in here too, and must leave nothing locked. So whoever
has the lock has a *hold*, which is itself a lock of the interpreter's: ``with`` unlocks it in one step, and that is all
there is to letting go. Who has to wait waits for a hold that is in the way, and looks again. (docs/adr/0004-locks.md)
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any

from pagewalk.doors import refuse_pickling

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeVar

    R = TypeVar("R")
    Hold = TypeVar("Hold", bound="_Hold")

    class RLock:
        """``threading.RLock``, whose type says that it is final: it is not."""

        def acquire(self, blocking: bool = ...) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *error: object) -> None: ...
else:
    from _thread import RLock

__all__ = ["MmapLock", "VmaLock"]


class _Mark(RLock):
    """Locked while something is so, by the thread for which it is; whoever else finds it free notes that it is over."""

    over = False

    @property
    def is_mine(self) -> bool:
        """Whether this thread has it."""
        return _is_mine(self)

    @property
    def is_anothers(self) -> bool:
        """Whether another thread has it."""
        if not self.over:
            self.note_over(blocking=False)
        return not self.over

    def note_over(self, *, blocking: bool) -> None:
        """Note that it is over, if it is; or wait for it to be."""
        try:
            if self.acquire(blocking):
                self.over = True
                self.release()
        except BaseException:
            if self.is_mine:
                self.release()
            raise


class _Hold(_Mark):
    """One hold on a lock: had by a thread while it is locked.

    Attributes:
        lock: The lock.
        write: For writing.
        owner: The thread.
        wanted: Locked by a thread that waits to write: readers wait for that.
    """

    lock: MmapLock
    write: bool
    owner: int
    wanted: _Mark

    def __enter__(self) -> bool:
        self.owner = get_ident()
        try:
            return self.enter()
        except BaseException:
            if self.is_mine:
                self.release()
            raise

    def enter(self) -> bool:
        """Lock it, once nothing is in the way."""
        self.lock.admit(self)
        return True

    @property
    def counts(self) -> bool:
        """Whether another thread has it, or wants it."""
        return self.is_anothers or (self.write and self.wanted.is_anothers)

    def in_the_way(self, other: _Hold, *, again: bool) -> _Mark | None:
        """What another hold, of another thread, has to wait for; ``again``: that thread has one already."""
        if (self.write or other.write) and self.is_anothers:
            return self
        if self.write and not other.write and not again and self.wanted.is_anothers:
            return self.wanted
        return None


def _is_mine(lock: Any) -> bool:
    """Whether this thread has a lock: so ``threading.Condition`` asks, though its type does not tell."""
    return bool(lock._is_owned())


class MmapLock:
    """A lock for many readers or one writer; a waiting writer goes before new readers.

    A thread that writes may take it again, for reading or writing; one that reads may read again.

    Args:
        inner: A lock that comes after this one: who has it already cannot wait for this one.
    """

    def __init__(self, inner: AbstractContextManager[object] | None = None) -> None:
        self._inner = inner
        self._mutex = RLock()
        self._holds: list[_Hold] = []
        self._gate: MmapLock | None = None
        self.sequence = 0
        """Grows when a writer comes: per-VMA write locks taken under it end with it."""

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "a copy would lock nothing; the copy of an address space has none")

    @property
    def gate(self) -> MmapLock:
        """Held for reading by whoever has the lock of one of the VMAs."""
        if self._gate is None:
            with self._mutex:
                self._gate = self._gate or MmapLock()
        return self._gate

    def read(self) -> AbstractContextManager[object]:
        """Hold it for reading.

        Raises:
            RuntimeError: It is busy, and this thread has a lock that comes after it.
        """
        return self.take(_Hold(), write=False)

    def write(self) -> AbstractContextManager[object]:
        """Hold it for writing.

        Raises:
            RuntimeError: This thread holds it for reading: waiting would never end. Or as ``read``.
        """
        return self.take(_Hold(), write=True)

    def run(self, work: Callable[[], R]) -> R:
        """Call something with the lock held for writing, and no VMA's lock held by another thread."""
        with self.write(), self.gate.write():
            return work()

    def run_reading(self, work: Callable[[], R]) -> R:
        """Call something with the lock held for reading."""
        with self.read():
            return work()

    def take(self, hold: Hold, *, write: bool) -> Hold:
        """Make a hold one on this lock."""
        hold.lock, hold.write = self, write
        if write:
            hold.wanted = _Mark()
        return hold

    def admit(self, hold: _Hold) -> None:
        """Lock a hold as soon as none of another thread is in the way."""
        if not hold.write:
            self._wait(hold)
            return
        if self.held and not self.held_for_writing:
            raise RuntimeError("mmap_lock is held for reading by this thread: let go before writing")
        with hold.wanted:
            hold.wanted.over = False
            self._wait(hold)

    def _wait(self, hold: _Hold) -> None:
        while (other := self.try_(hold)) is not None:
            if (self._inner is not None and _is_mine(self._inner)) or (self._gate is not None and self._gate.held):
                raise RuntimeError("mmap_lock is busy, and this thread has a table's or a VMA's lock: let go of that")
            other.note_over(blocking=True)

    def try_(self, hold: _Hold) -> _Mark | None:
        """Lock a hold, if nothing is in its way; else what is."""
        with self._mutex:
            mine = [other for other in self._holds if other.is_mine]
            others = [other for other in self._holds if other.owner != hold.owner and other.counts]
            writing = any(other.write for other in mine)
            for other in () if writing else others:
                if (lock := other.in_the_way(hold, again=bool(mine))) is not None:
                    self._holds = [*others, *mine, hold] if hold.write else self._holds  # it is known to want
                    return lock
            self.sequence += hold.write and not mine
            self._holds = [*others, *mine, hold]
            hold.acquire()
            hold.over = False
            return None

    def forget(self, hold: _Hold) -> None:
        """A hold is none after all."""
        with self._mutex:
            self._holds = [other for other in self._holds if other is not hold]

    @property
    def mine(self) -> list[_Hold]:
        """This thread's holds."""
        return [hold for hold in self._holds if hold.is_mine]

    @property
    def held(self) -> bool:
        """Whether this thread holds it, in any way."""
        return bool(self.mine)

    @property
    def held_for_writing(self) -> bool:
        """Whether this thread holds it for writing."""
        return any(hold.write for hold in self.mine)

    @property
    def written(self) -> bool:
        """Whether any thread holds it for writing."""
        with self._mutex:
            return any(hold.write and (hold.is_mine or hold.is_anothers) for hold in self._holds)


class _VmaHold(_Hold):
    """A hold on one VMA's lock, had or not."""

    vma: VmaLock | None

    def enter(self) -> bool:
        """Lock it, without waiting; whether it was had."""
        vma, gate = self.vma, self.lock
        if vma is not None and gate.try_(self) is None:
            if vma.may_read:
                return True
            gate.forget(self)
        self.vma = None
        if not self.is_mine:
            self.acquire()  # locked all the same: leaving the block unlocks it
        return False


class VmaLock:
    """A per-VMA lock: held for reading on its own, for writing only under ``mmap_lock`` held for writing.

    Args:
        mmap_lock: The lock of the address space. Letting it go ends every VMA's write lock at once.
    """

    def __init__(self, mmap_lock: MmapLock) -> None:
        self._mmap_lock = mmap_lock
        self._gate = mmap_lock.gate
        self._sequence = -1

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "a copy would lock nothing; the copy of a VMA has none")

    def read(self) -> AbstractContextManager[bool]:
        """Try to hold it for reading; yields whether it was had. Never waits for a writer (``lock_vma_under_rcu``)."""
        hold = _VmaHold()
        hold.vma = self
        return self._gate.take(hold, write=False)

    def start_write(self) -> None:
        """Mark the VMA as being changed, once readers are gone (``vma_start_write``).

        Raises:
            RuntimeError: ``mmap_lock`` is not held for writing.
        """
        if not self._mmap_lock.held_for_writing:
            raise RuntimeError("a VMA's write lock needs mmap_lock held for writing")
        self._sequence = self._mmap_lock.sequence
        with self._gate.write():
            pass

    @property
    def may_read(self) -> bool:
        """Whether no other thread has marked it."""
        return not self._is_marked or self._mmap_lock.held_for_writing

    @property
    def _is_marked(self) -> bool:
        return self._sequence == self._mmap_lock.sequence and self._mmap_lock.written

    @property
    def held(self) -> bool:
        """Whether this thread holds it, in any way."""
        return any(getattr(hold, "vma", None) is self for hold in self._gate.mine) or self.held_for_writing

    @property
    def held_for_writing(self) -> bool:
        """Whether this thread has marked it."""
        return self._is_marked and self._mmap_lock.held_for_writing
