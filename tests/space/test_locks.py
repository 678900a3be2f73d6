"""The locks: real ones, between threads. Threads meet at events; nothing sleeps."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30  # seconds before a test that hangs fails


@contextmanager
def elsewhere(held: Any) -> Iterator[None]:
    """Another thread inside ``with held:`` for as long as the block lasts."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with held:
            inside.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(PATIENCE)
    try:
        yield
    finally:
        leave.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def in_a_thread(action: Callable[[], Any]) -> Any:
    """What an action returns in a thread of its own."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(action()))
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return answers[0]


def try_read(lock: pw.MmapLock) -> bool:
    with lock.read():
        return lock.held


class TestMmapLock:
    def test_who_holds_it(self) -> None:
        lock = pw.MmapLock()
        assert (lock.held, lock.held_for_writing) == (False, False)
        with lock.read():
            assert (lock.held, lock.held_for_writing) == (True, False)
            assert in_a_thread(lambda: lock.held) is False
        with lock.write():
            assert (lock.held, lock.held_for_writing) == (True, True)
            assert in_a_thread(lambda: (lock.held, lock.held_for_writing)) == (False, False)
        assert (lock.held, lock.held_for_writing) == (False, False)

    def test_many_readers(self) -> None:
        lock = pw.MmapLock()
        with elsewhere(lock.read()), lock.read(), lock.read():
            assert in_a_thread(lambda: try_read(lock)) is True

    def test_a_writer_may_take_it_again(self) -> None:
        lock = pw.MmapLock()
        with lock.write(), lock.write(), lock.read():
            assert lock.held_for_writing
        assert not lock.held
        assert lock.sequence == 1

    def test_a_reader_cannot_become_a_writer(self) -> None:
        lock = pw.MmapLock()
        with lock.read(), pytest.raises(RuntimeError, match="let go before writing"), lock.write():
            pytest.fail("it waited for itself")
        with lock.write():
            assert lock.held_for_writing

    def test_no_waiting_with_a_later_lock(self) -> None:
        """Whoever has a table's lock, or a VMA's, does not wait for who may wait for it: an error, not a hang."""
        inner = threading.RLock()
        lock = pw.MmapLock(inner)
        vma = pw.VmaLock(lock)
        with elsewhere(lock.write()):
            with inner, pytest.raises(RuntimeError, match="let go of that"), lock.read():
                pytest.fail("it did not wait for the writer")
            with vma.read() as had, pytest.raises(RuntimeError, match="let go of that"), lock.read():
                pytest.fail("it did not wait for the writer")
            assert had
        with inner, lock.read():
            assert lock.held

    def test_one_object_may_be_used_again(self) -> None:
        lock = pw.MmapLock()
        hold = lock.write()
        for _ in range(3):
            with hold, hold:
                assert lock.held_for_writing
            assert in_a_thread(lambda: try_read(lock)) is True

    def test_let_go_after_an_error(self) -> None:
        lock = pw.MmapLock()
        with pytest.raises(KeyError), lock.write():
            raise KeyError
        assert in_a_thread(lambda: try_read(lock)) is True

    def test_one_writer_at_a_time(self) -> None:
        lock, count = pw.MmapLock(), [0]

        def add() -> None:
            for _ in range(500):
                with lock.write():
                    seen = count[0]
                    with lock.read():
                        count[0] = seen + 1

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert count == [2000]
        assert lock.sequence == 2000


class TestVmaLock:
    """Rule: "PGWALK_VMA_RDLOCK_VERIFY": a VMA's own lock; its write lock ends with ``mmap_lock``'s."""

    def test_read(self) -> None:
        vma = pw.VmaLock(pw.MmapLock())
        assert not vma.held
        with vma.read() as had:
            assert had
            assert (vma.held, vma.held_for_writing) == (True, False)
        assert not vma.held

    def test_write_needs_mmap_lock(self) -> None:
        mmap_lock = pw.MmapLock()
        vma = pw.VmaLock(mmap_lock)
        with pytest.raises(RuntimeError, match="mmap_lock held for writing"):
            vma.start_write()
        with mmap_lock.read(), pytest.raises(RuntimeError, match="mmap_lock held for writing"):
            vma.start_write()

    def test_write_ends_with_mmap_lock(self) -> None:
        mmap_lock = pw.MmapLock()
        vma, other = pw.VmaLock(mmap_lock), pw.VmaLock(mmap_lock)
        with mmap_lock.write():
            vma.start_write()
            assert (vma.held_for_writing, other.held_for_writing) == (True, False)
            with vma.read() as had:
                assert had
        assert not vma.held_for_writing

    def test_a_reader_never_waits_for_a_writer(self) -> None:
        mmap_lock = pw.MmapLock()
        vma = pw.VmaLock(mmap_lock)

        def try_it() -> tuple[bool, bool]:
            with vma.read() as had:
                return had, vma.held

        with mmap_lock.write():
            assert in_a_thread(try_it) == (True, True)
            vma.start_write()
            assert in_a_thread(try_it) == (False, False)
        assert in_a_thread(try_it) == (True, True)

    def test_a_reader_that_came_too_late_is_turned_away(self) -> None:
        """A writer that comes and goes between a reader's look and its lock (``vma_start_read`` looks again)."""
        mmap_lock = pw.MmapLock()
        vma = pw.VmaLock(mmap_lock)
        try_, leave, marked = mmap_lock.gate.try_, threading.Event(), threading.Event()

        def write() -> None:
            with mmap_lock.write():
                vma.start_write()
                marked.set()
                leave.wait(PATIENCE)

        writer = threading.Thread(target=write)

        def late(hold: Any) -> Any:
            if threading.current_thread() is not writer:
                writer.start()
                assert marked.wait(PATIENCE)
            return try_(hold)

        mmap_lock.gate.try_ = late  # type: ignore[method-assign]
        try:
            with vma.read() as had:
                assert not had
        finally:
            leave.set()
            writer.join(PATIENCE)
