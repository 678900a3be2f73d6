"""The locks that a walk may demand: ``mmap_lock``, and one a VMA.

They are real locks between threads. Who asks whether a lock is held asks for the current thread, as lockdep does.

Ctrl-C may come between any two steps of Python, in here too. What a thread holds is therefore a number that can be set
again: who lets go and is interrupted lets go once more. See docs/adr/0004-locks.md.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TypeVar

    R = TypeVar("R")

__all__ = ["MmapLock", "VmaLock"]


class _Hold(NamedTuple):
    """How often a thread holds a lock."""

    reads: int
    writes: int


class MmapLock:
    """A lock for many readers or one writer; a waiting writer goes before new readers.

    A thread that writes may take it again, for reading or writing; one that reads may read again.

    Args:
        inner: A lock that comes after this one: who holds it already cannot wait for this one.
    """

    def __init__(self, inner: threading.RLock | None = None) -> None:
        self._inner: Any = inner
        self._mutex = threading.RLock()  # taken by ``with`` alone: CPython lets nothing come between that and the block
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._depth = 0
        self._wanting: set[int] = set()
        self._gates: list[SimpleQueue[None]] = []
        self.sequence = 0
        """Grows when a writer lets go: per-VMA write locks taken under it end with it."""

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold it for reading."""
        self._take(write=False)
        try:
            yield
        finally:
            self._let_go(_Hold(1, 0))

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold it for writing.

        Raises:
            RuntimeError: This thread holds it for reading: waiting would never end.
        """
        self._take(write=True)
        try:
            yield
        finally:
            self._let_go(_Hold(0, 1))

    def run(self, work: Callable[[], R]) -> R:
        """Call something with the lock held for writing; an interruption at any point leaves it as it was before."""
        return self._run(work, write=True)

    def run_reading(self, work: Callable[[], R]) -> R:
        """The same, held for reading."""
        return self._run(work, write=False)

    def _run(self, work: Callable[[], R], *, write: bool) -> R:
        before = self._hold
        try:
            try:
                self._take(write=write)
                return work()
            finally:
                self._restore(before)
        except BaseException:
            self._restore(before)  # the interruption may have come while the lock was let go
            raise

    def _take(self, *, write: bool) -> None:
        """Wait for the lock and take it.

        Raises:
            RuntimeError: Waiting would never end, or might not.
        """
        me = threading.get_ident()
        if write and me in self._readers and self._writer != me:
            raise RuntimeError("mmap_lock is held for reading by this thread: let go before writing")
        before = self._hold
        try:
            while (gate := self._try(me, write=write)) is not None:
                self._check_may_wait()
                gate.get()
        except BaseException:
            self._restore(before)
            raise

    def _check_may_wait(self) -> None:
        """Refuse to wait for a thread that may be waiting for this one.

        Raises:
            RuntimeError: This thread holds the lock that comes after this one.
        """
        if self._inner is not None and self._inner._is_owned():  # so Condition asks a lock; the type does not tell
            raise RuntimeError("mmap_lock is busy, and this thread holds a table's or a VMA's lock: let go of it first")

    def _try(self, me: int, *, write: bool) -> SimpleQueue[None] | None:
        """Take the lock if it is free; else where to wait for a change."""
        with self._mutex:
            if self._is_free(me, write=write):
                if write:
                    self._wanting.discard(me)
                    self._writer, self._depth = me, self._depth + 1
                else:
                    self._readers[me] = self._readers.get(me, 0) + 1
                return None
            if write:
                self._wanting.add(me)
            gate: SimpleQueue[None] = SimpleQueue()
            self._gates.append(gate)
            return gate

    def _is_free(self, me: int, *, write: bool) -> bool:
        """Whether a thread may have it now."""
        if self._writer is not None:
            return self._writer == me
        if write:
            return not self._readers or (len(self._readers) == 1 and me in self._readers)
        return not self._wanting or me in self._readers

    @property
    def _hold(self) -> _Hold:
        """How often this thread holds it."""
        me = threading.get_ident()
        return _Hold(self._readers.get(me, 0), self._depth if self._writer == me else 0)

    def _let_go(self, once: _Hold) -> None:
        """Hold it once less."""
        hold = self._hold
        left = _Hold(hold.reads - once.reads, hold.writes - once.writes)
        try:
            self._restore(left)
        except BaseException:
            self._restore(left)
            raise

    def _restore(self, hold: _Hold) -> None:
        """Hold it so often from now on, and no more: may be done again after an interruption."""
        me = threading.get_ident()
        with self._mutex:
            if hold.reads:
                self._readers[me] = hold.reads
            else:
                self._readers.pop(me, None)
            if self._writer == me:
                self._depth = hold.writes
                if not hold.writes:
                    self._writer, self.sequence = None, self.sequence + 1
            self._wanting.discard(me)
            for gate in self._gates:
                gate.put(None)
            self._gates = []

    def _holds(self, thread: int) -> bool:
        return thread in self._readers or self._writer == thread

    @property
    def held(self) -> bool:
        """Whether this thread holds it, in any way."""
        return self._holds(threading.get_ident())

    @property
    def held_for_writing(self) -> bool:
        """Whether this thread holds it for writing."""
        return self._writer == threading.get_ident()


class VmaLock:
    """A per-VMA lock: held for reading on its own, for writing only under ``mmap_lock`` held for writing.

    Args:
        mmap_lock: The lock of the address space. Letting it go ends every VMA's write lock at once.
        inner: What is held as well while it is held for reading. Who changes VMAs holds it too, and so finds no
            reader to wait for.
    """

    def __init__(self, mmap_lock: MmapLock, inner: AbstractContextManager[object] | None = None) -> None:
        self._mmap_lock = mmap_lock
        self._outer = inner or nullcontext()
        self._inner = MmapLock()
        self._sequence = -1

    @contextmanager
    def read(self) -> Iterator[bool]:
        """Try to hold it for reading; yields whether it was had. Never waits for a writer (``lock_vma_under_rcu``)."""
        if self._may_read:
            with self._outer, self._inner.read():
                if self._may_read:
                    yield True
                    return
        yield False

    @property
    def _may_read(self) -> bool:
        return not self._locked_for_writing or self._mmap_lock.held_for_writing

    def start_write(self) -> None:
        """Mark the VMA as being changed, once its readers are gone (``vma_start_write``).

        Raises:
            RuntimeError: ``mmap_lock`` is not held for writing.
        """
        if not self._mmap_lock.held_for_writing:
            raise RuntimeError("a VMA's write lock needs mmap_lock held for writing")
        self._sequence = self._mmap_lock.sequence
        with self._inner.write():
            pass

    @property
    def _locked_for_writing(self) -> bool:
        return self._sequence == self._mmap_lock.sequence

    @property
    def held(self) -> bool:
        """Whether this thread holds it, in any way."""
        return self._inner.held or self.held_for_writing

    @property
    def held_for_writing(self) -> bool:
        """Whether this thread has marked it."""
        return self._locked_for_writing and self._mmap_lock.held_for_writing
