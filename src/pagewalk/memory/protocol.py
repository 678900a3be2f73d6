"""What a place that holds page tables must be able to do: one method to read, one more to write.

The smallest memory is a class with ``read``. A *flat* memory also shows its bytes: then pagewalk works on them in
place, with no call and no copy an entry. One that is far away may take many reads at once (``ReadsMany``), one that
unpacks its bytes may put them where they are wanted (``Fills``), one that holds something open can be closed
(``Closable``), and that of a machine which runs can be held while it is edited (``Running``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "Closable",
    "Fills",
    "Flat",
    "Memory",
    "ReadsMany",
    "Running",
    "Segment",
    "WritableMemory",
    "is_flat",
    "is_writable",
]


@runtime_checkable
class Memory(Protocol):
    """Bytes at physical addresses."""

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at physical address ``paddr``.

        Raises:
            MemoryReadError: Not all of them are there. Nothing is padded.
        """


@runtime_checkable
class WritableMemory(Memory, Protocol):
    """A memory that may be changed."""

    def write(self, paddr: int, data: bytes) -> None:
        """Write ``data`` at physical address ``paddr``, all of it or nothing.

        Raises:
            MemoryWriteError: Not all of it has a place.
        """


@runtime_checkable
class ReadsMany(Memory, Protocol):
    """A memory that is asked for many runs of bytes at once: one journey to a far machine instead of thousands."""

    def read_many(self, paddrs: Sequence[int], size: int) -> Sequence[bytes | None]:
        """Read ``size`` bytes at each of some physical addresses.

        Returns:
            As many answers, in the order of ``paddrs``: what ``read`` gives, and None where ``read`` raises
            MemoryReadError. Nothing is padded. It raises nothing for bytes that are not there.
        """


@runtime_checkable
class Fills(Memory, Protocol):
    """A memory that puts what is read at many addresses side by side, with no bytes made in between."""

    def fill(self, paddrs: Sequence[int], size: int, buffer: memoryview) -> Sequence[bool]:
        """Read ``size`` bytes at each of some physical addresses into a buffer, one after the other.

        Returns:
            Which of them are there, in the order of ``paddrs``: those that ``read`` gives. What the buffer has in place
            of the others means nothing. It raises nothing for bytes that are not there.
        """


@runtime_checkable
class Closable(Protocol):
    """A memory that holds something open: a file, a connection."""

    def close(self) -> None:
        """Let go of it. What is asked for afterwards raises MemoryReadError, and closing again does nothing."""


@runtime_checkable
class Running(Memory, Protocol):
    """The memory of a machine that runs, and whose CPUs keep translations. A commit asks it for each of these.

    Attributes:
        address: Where it is, as ``memory/address.py`` opens it again, to take a change back.
    """

    address: dict[str, str]

    def paused(self) -> AbstractContextManager[object]:
        """Hold the machine meanwhile; then it runs as it did.

        What keeps its CPUs from being told to forget is found here, before anything is written.

        Raises:
            UnsupportedError, OSError, ImageFormatError: It cannot be held, or its CPUs cannot be told.
        """

    def forget(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Have every CPU forget translations of ``(vaddr, size)`` in bytes; of all addresses, if there are no ranges.

        It is asked for while the machine is paused alone.

        Returns:
            How often CPUs were told: once for a page, or once for all.

        Raises:
            UnsupportedError, OSError, ImageFormatError: The machine does not answer.
        """


class Segment(NamedTuple):
    """A run of physical memory: where it starts, and its bytes."""

    start: int
    data: memoryview

    @property
    def end(self) -> int:
        """Where it ends, exclusive."""
        return self.start + len(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of the bytes; those that could be written still can."""
        return _segment, (type(self), self.start, self.data.tobytes(), self.data.readonly)


def _segment(kind: type[Segment], start: int, data: bytes, readonly: bool) -> Segment:
    """A segment that was pickled or copied."""
    return kind(start, memoryview(data if readonly else bytearray(data)))


@runtime_checkable
class Flat(Memory, Protocol):
    """A memory whose bytes can be used in place.

    One whose bytes can go (a file that somebody cuts off) also has ``check_extent()``, which raises ``MemoryReadError``
    when they have, and is called before they are used.
    """

    @property
    def segments(self) -> Sequence[Segment]:
        """The runs of memory, ascending and apart. ``np.frombuffer(segment.data, "<u8")`` makes no copy."""

    def view(self, paddr: int, size: int) -> memoryview | None:
        """The bytes at ``paddr`` in place, or None if they are not all in one segment."""


def is_writable(memory: Memory) -> TypeGuard[WritableMemory]:
    """Whether a memory can be written; as ``is_flat``, without the delay of ``isinstance``."""
    return hasattr(memory, "write")


def is_flat(memory: Memory) -> TypeGuard[Flat]:
    """Whether a memory's bytes can be used in place; ``isinstance`` says the same, and takes 20 microseconds."""
    return hasattr(memory, "view") and hasattr(memory, "segments")
