"""``check_memory``: run it on a memory source of your own, in your own tests.

Each check below is one promise of ``pagewalk.memory.protocol``. They look at a few windows only, so a memory of many
gigabytes is as quick to check as a small one, and they leave it as they found it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from pagewalk.doors import integers
from pagewalk.errors import MemoryReadError, MemoryWriteError
from pagewalk.memory import Closable, Fills, Flat, ReadsMany

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagewalk.memory import Memory

__all__ = ["check_memory"]

WINDOW = 1 << 16
SIZES = (1, 2, 8, 511, 512, 4096, 4097, WINDOW)


class _Subject(NamedTuple):
    """What is being checked: a memory, and a run of it."""

    memory: Any
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the run ends, exclusive."""
        return self.start + self.size

    def read(self, paddr: int, size: int) -> bytes:
        """Read what is there, which a memory gives as bytes, all of them and no more."""
        try:
            data = self.memory.read(paddr, size)
        except Exception as error:
            raise _broken(f"a read inside answers: {type(error).__name__} for {size} bytes at {paddr:#x}") from error
        _promise(isinstance(data, bytes), f"read returns bytes, not {type(data).__name__}")
        _promise(len(data) == size, f"a read has the size asked for: {len(data)} of {size} bytes at {paddr:#x}")
        return bytes(data)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """A few ``(paddr, size)`` at the start, in the middle and at the end of the run, odd ones too."""
        places = (0, 1, 8, 4095, 4096, self.size // 2, self.size // 2 + 3, self.size)
        for size in (size for size in SIZES if size <= self.size):
            for offset in sorted({min(place, self.size - size) for place in places}):
                yield self.start + offset, size


def check_memory(memory: Memory, start: int, size: int, *, writable: bool | None = None, close: bool = False) -> None:
    """Check that a memory keeps the promises of ``Memory``, and of what else it is.

    That is ``WritableMemory``, ``Flat``, ``ReadsMany``, ``Fills`` and, asked for by ``close``, ``Closable``.

    Args:
        memory: The memory to check.
        start, size: A run of it that is all there, in bytes; at its end there must be no memory (a hole, or the end).
        writable: Whether it must take writes. None: find out by writing back what is there.
        close: Close it in the end, and check that too.

    Raises:
        AssertionError: It breaks a promise; the message says which, and where.
        ValueError: The run is empty or negative.
    """
    start, size = integers(start=start, size=size)
    if start < 0 or size < 1:
        raise ValueError(f"not a run of memory: {size:#x} bytes at {start:#x}")
    subject = _Subject(memory, start, size)
    _reads_are_exact(subject)
    _empty_reads_are_empty(subject)
    _reads_agree_with_their_parts(subject)
    _reads_outside_raise(subject)
    if isinstance(memory, ReadsMany):
        _many_reads_agree_with_reads(subject)
    if isinstance(memory, Fills):
        _filling_agrees_with_reads(subject)
    if isinstance(memory, Flat):
        _segments_are_in_order(subject)
        _views_agree_with_reads(subject)
    if writable is None:
        writable = _takes_writes(subject)
    if writable:
        _writes_are_read_back(subject)
        _writes_outside_change_nothing(subject)
    else:
        _writes_are_refused(subject)
    if close:
        _closed_answers_nothing(subject)


# -- reading -------------------------------------------------------------------------------------------------------


def _reads_are_exact(subject: _Subject) -> None:
    for paddr, size in subject.pieces():
        data, again = subject.read(paddr, size), subject.read(paddr, size)
        _promise(data == again, f"a repeated read gives the same bytes: it did not at {paddr:#x}, {size} bytes")


def _empty_reads_are_empty(subject: _Subject) -> None:
    for paddr in (subject.start, subject.end - 1):
        data = subject.memory.read(paddr, 0)
        _promise(data == b"", f"a read of 0 bytes is empty: it gave {len(data)} bytes at {paddr:#x}")


def _reads_agree_with_their_parts(subject: _Subject) -> None:
    size = min(WINDOW, subject.size)
    for window in {subject.start, subject.start + (subject.size - size) // 2, subject.end - size}:
        whole = subject.read(window, size)
        for paddr, part in _Subject(subject.memory, window, size).pieces():
            at = paddr - window
            same = subject.read(paddr, part) == whole[at : at + part]
            _promise(same, f"a part reads as in the whole: {part} bytes at {paddr:#x} differ")


def _reads_outside_raise(subject: _Subject) -> None:
    for paddr, size in _outside(subject):
        _raises(MemoryReadError, "a read outside", subject.memory.read, paddr, size, size)


def _outside(subject: _Subject) -> Iterator[tuple[int, int]]:
    """Reads and writes that are not all inside: over the end, after it, below zero, far away."""
    size = min(4, subject.size)
    yield subject.end - size, size + 4
    yield subject.end - 1, 2
    yield subject.end, 1
    yield subject.start, subject.size + 1
    yield -8, 8
    yield -8, 16
    yield (1 << 64) - 8, 8
    yield 1 << 64, 8
    yield 1 << 80, 8


def _raises(
    kind: type[MemoryReadError], what: str, action: Callable[..., Any], paddr: int, argument: Any, size: int
) -> None:
    """Check that one access is refused, by the right error that says what was asked for."""
    where = f"{size} bytes at {paddr:#x}"
    try:
        action(paddr, argument)
    except kind as error:
        said = (error.paddr, error.size)
        promise = f"{kind.__name__} carries the paddr and size that were asked for"
        _promise(said == (paddr, size), f"{promise}: {said} for {where}")
    except Exception as error:
        raise _broken(f"{what} raises {kind.__name__}: {type(error).__name__} for {where}") from error
    else:
        raise _broken(f"{what} raises {kind.__name__}: nothing was raised for {where}")


# -- many reads at once ----------------------------------------------------------------------------------------------


def _many_reads_agree_with_reads(subject: _Subject) -> None:
    promise = "read_many answers for each address, in order, what read gives"
    _promise(len(subject.memory.read_many([], 8)) == 0, "read_many of no addresses gives no answers")
    for size in (size for size in SIZES if size <= subject.size):
        places = [paddr for paddr, length in subject.pieces() if length == size]
        wanted: list[int] = [*places, *(paddr for paddr, length in _outside(subject) if length <= size), *places[::-1]]
        answers = list(subject.memory.read_many(wanted, size))
        _promise(len(answers) == len(wanted), f"{promise}: {len(answers)} answers for {len(wanted)} of {size} bytes")
        for paddr, data in zip(wanted, answers, strict=True):
            inside = subject.start <= paddr and paddr + size <= subject.end
            if inside:
                same = data is not None and bytes(data) == subject.read(paddr, size)
                _promise(same, f"{promise}: {size} bytes at {paddr:#x} differ")
            elif not _reads(subject.memory, paddr, size):
                _promise(data is None, f"read_many answers None where read raises: {size} bytes at {paddr:#x}")


def _filling_agrees_with_reads(subject: _Subject) -> None:
    promise = "fill puts side by side what read gives"
    for size in (size for size in SIZES if size <= subject.size):
        places = [paddr for paddr, length in subject.pieces() if length == size]
        wanted: list[int] = [*places, *(paddr for paddr, length in _outside(subject) if length <= size), *places[::-1]]
        buffer = memoryview(bytearray(size * len(wanted)))
        there = list(subject.memory.fill(wanted, size, buffer))
        _promise(len(there) == len(wanted), f"{promise}: {len(there)} answers for {len(wanted)} of {size} bytes")
        for at, paddr in enumerate(wanted):
            data = bytes(buffer[at * size : (at + 1) * size])
            same = there[at] == _reads(subject.memory, paddr, size) and (
                not there[at] or data == subject.read(paddr, size)
            )
            _promise(same, f"{promise}: {size} bytes at {paddr:#x} differ")


def _reads(memory: Any, paddr: int, size: int) -> bool:
    """Whether a read goes through."""
    try:
        memory.read(paddr, size)
    except MemoryReadError:
        return False
    return True


# -- closing ---------------------------------------------------------------------------------------------------------


def _closed_answers_nothing(subject: _Subject) -> None:
    memory = subject.memory
    _promise(isinstance(memory, Closable), "a memory that can be closed has a close method")
    memory.close()
    memory.close()  # does nothing
    _promise(not _reads(memory, subject.start, 1), "a read of a closed memory raises MemoryReadError")
    if isinstance(memory, Flat):
        _promise(memory.view(subject.start, 1) is None, "a closed memory shows nothing")
    if hasattr(memory, "write"):
        _raises(MemoryWriteError, "a write to a closed memory", memory.write, subject.start, b"\0", 1)


# -- flat memory ---------------------------------------------------------------------------------------------------


def _segments_are_in_order(subject: _Subject) -> None:
    segments = list(subject.memory.segments)
    for low, high in pairwise(segments):
        _promise(low.end <= high.start, f"segments ascend and do not overlap: {low.start:#x} and {high.start:#x}")
    for segment in segments:
        data = segment.data
        flat = data.ndim == 1 and data.itemsize == 1 and data.contiguous and len(data) > 0
        _promise(flat, f"a segment is a plain run of bytes: not so at {segment.start:#x}")
    covered = sum(max(0, min(s.end, subject.end) - max(s.start, subject.start)) for s in segments)
    _promise(covered == subject.size, f"segments cover what can be read: {covered:#x} of {subject.size:#x} bytes")
    beyond = any(s.start <= subject.end < s.end for s in segments)
    _promise(not beyond, f"segments hold only what can be read: one has {subject.end:#x}")


def _views_agree_with_reads(subject: _Subject) -> None:
    for paddr, size in subject.pieces():
        view = subject.memory.view(paddr, size)
        same = view is None or bytes(view) == subject.read(paddr, size)
        _promise(same, f"a view shows what read gives: {size} bytes at {paddr:#x} differ")
    for segment in subject.memory.segments:
        view = subject.memory.view(segment.start, len(segment.data))
        _promise(view is not None, f"a whole segment can be viewed: not the one at {segment.start:#x}")
    for paddr, size in _outside(subject):
        _promise(subject.memory.view(paddr, size) is None, f"a view outside is None: {size} bytes at {paddr:#x}")


# -- writing -------------------------------------------------------------------------------------------------------


def _takes_writes(subject: _Subject) -> bool:
    """Whether a write of what is there anyway goes through."""
    if not hasattr(subject.memory, "write"):
        return False
    try:
        subject.memory.write(subject.start, subject.read(subject.start, 1))
    except MemoryWriteError:
        return False
    return True


def _writes_are_read_back(subject: _Subject) -> None:
    _promise(hasattr(subject.memory, "write"), "a writable memory has a write method")
    for paddr, size in subject.pieces():
        low, high = max(paddr - 8, subject.start), min(paddr + size + 8, subject.end)
        before = subject.read(low, high - low)
        old = before[paddr - low : paddr - low + size]
        new = _other(old)
        wanted = before[: paddr - low] + new + before[paddr - low + size :]
        try:
            subject.memory.write(paddr, new)
            after = subject.read(low, high - low)
            view = subject.memory.view(paddr, size) if isinstance(subject.memory, Flat) else None
            _promise(after == wanted, f"what is written is read back, and no more: {size} bytes at {paddr:#x}")
            _promise(view is None or bytes(view) == new, f"a view shows what was written: {size} bytes at {paddr:#x}")
        finally:
            subject.memory.write(paddr, old)
        _promise(subject.read(low, high - low) == before, f"writing back restores: {size} bytes at {paddr:#x}")


def _writes_outside_change_nothing(subject: _Subject) -> None:
    for paddr, size in _outside(subject):
        if size <= WINDOW:
            _refused_and_unchanged(subject, "a write outside", paddr, size)


def _writes_are_refused(subject: _Subject) -> None:
    if hasattr(subject.memory, "write"):
        for paddr, size in ((subject.start, 1), (subject.end - 1, 1)):
            _refused_and_unchanged(subject, "a write to a read-only memory", paddr, size)


def _refused_and_unchanged(subject: _Subject, what: str, paddr: int, size: int) -> None:
    """Check that a write is refused as a whole."""
    low, high = max(paddr, subject.start), min(paddr + size, subject.end)
    before = subject.read(low, high - low) if low < high else b""
    data = (bytes(min(max(low - paddr, 0), size)) + _other(before)).ljust(size, b"\0")
    try:
        _raises(MemoryWriteError, what, subject.memory.write, paddr, data, size)
        after = subject.read(low, high - low) if low < high else b""
        _promise(after == before, f"{what} changes nothing: {size} bytes at {paddr:#x} did")
    except AssertionError:
        if low < high:
            subject.memory.write(low, before)
        raise


def _other(data: bytes) -> bytes:
    """Bytes that differ everywhere."""
    return bytes(byte ^ 0xA5 for byte in data)


def _promise(kept: bool, promise: str) -> None:
    if not kept:
        raise _broken(promise)


def _broken(promise: str) -> AssertionError:
    return AssertionError(f"broken promise: {promise}")
