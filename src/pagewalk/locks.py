"""The locks that a walk may demand: ``mmap_lock``, and one a VMA.

They are real locks between threads. Who asks whether a lock is held asks for the current thread, as lockdep does.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pagewalk.doors import refuse_pickling

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MmapLock", "VmaLock"]


class MmapLock:
    """A lock for many readers or one writer; a waiting writer goes before new readers.

    A thread that writes may take it again, for reading or writing; one that reads may read again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._depth = 0
        self._waiting_writers = 0
        self.sequence = 0
        """Grows when a writer lets go: per-VMA write locks taken under it end with it."""

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "a copy would lock nothing; the copy of an address space has none")

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold it for reading."""
        me = threading.get_ident()
        with self._changed:
            while self._writer not in (None, me) or (self._waiting_writers and not self._holds(me)):
                self._changed.wait()
            self._readers[me] = self._readers.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[me] -= 1
                if not self._readers[me]:
                    del self._readers[me]
                self._changed.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold it for writing.

        Raises:
            RuntimeError: This thread holds it for reading: waiting would never end.
        """
        me = threading.get_ident()
        with self._changed:
            if me in self._readers and self._writer != me:
                raise RuntimeError("mmap_lock is held for reading by this thread: let go before writing")
            self._waiting_writers += 1
            try:
                while self._writer not in (None, me) or self._readers.keys() - {me}:
                    self._changed.wait()
            finally:
                self._waiting_writers -= 1
                self._changed.notify_all()
            self._writer, self._depth = me, self._depth + 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self.sequence += 1
                self._changed.notify_all()

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
    """

    def __init__(self, mmap_lock: MmapLock) -> None:
        self._mmap_lock = mmap_lock
        self._inner = MmapLock()
        self._sequence = -1

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "a copy would lock nothing; the copy of a VMA has none")

    @contextmanager
    def read(self) -> Iterator[bool]:
        """Try to hold it for reading; yields whether it was had. Never waits for a writer (``lock_vma_under_rcu``)."""
        if self._locked_for_writing and not self._mmap_lock.held_for_writing:
            yield False
            return
        with self._inner.read():
            yield not self._locked_for_writing or self._mmap_lock.held_for_writing

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
