"""Which physical addresses a memory has bytes of, and all of them in passing, a block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError
from pagewalk.memory.exact import read_exactly
from pagewalk.memory.protocol import is_flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from pagewalk.memory.protocol import Memory

__all__ = ["BLOCK", "blocks_of", "extents_of"]

BLOCK: Final = 2 << 20
"""Bytes that one step of a pass over memory takes: they stay in the CPU's cache."""


def extents_of(memory: Memory) -> npt.NDArray[np.uint64]:
    """Where a memory has bytes: ``[start, end)`` of each run, ascending and apart, shape (runs, 2), uint64.

    Raises:
        UnsupportedError: It does not say.
    """
    import numpy as np  # a single translation needs none

    if is_flat(memory):
        runs = np.array([(segment.start, segment.end) for segment in memory.segments], np.uint64).reshape(-1, 2)
        joined = np.flatnonzero(runs[1:, 0] == runs[:-1, 1])
        return np.stack([np.delete(runs[:, 0], joined + 1), np.delete(runs[:, 1], joined)], axis=1)
    extents = getattr(memory, "extents", None)
    if extents is None:
        raise UnsupportedError(f"{shown(memory)} does not say where it has memory: give it an attribute 'extents'")
    return np.asarray(extents, np.uint64)


def blocks_of(memory: Memory, size: int = BLOCK) -> Iterator[tuple[int, memoryview]]:
    """All bytes of a memory in passing: a physical address, and the bytes from there on.

    Args:
        memory: One that says where it has bytes.
        size: Bytes of a block at most, a power of two. A block begins on a multiple of it, or where a run of memory
            does, and ends with that run.

    Yields:
        The address and the bytes, ascending. They are read-only for the caller, and gone with the next block: those of
        a flat memory are shown where they lie, those of another are overwritten by the next.

    Raises:
        UnsupportedError: It does not say where it has memory.
        MemoryReadError: What it says it has cannot be read.
    """
    read_into: Any = getattr(memory, "read_into", None)
    buffer = memoryview(bytearray(size))
    for start, end in extents_of(memory).tolist():
        at = start
        while at < end:
            stop = min(end, (at // size + 1) * size)
            part = _in_place(memory, at, stop - at) if read_into is None else None
            if part is None:
                part = buffer[: stop - at]
                if read_into is None:
                    part[:] = read_exactly(memory, at, stop - at)
                else:
                    read_into(at, part)
            yield at, part
            at = stop


def _in_place(memory: Memory, paddr: int, size: int) -> memoryview | None:
    """Bytes where they lie, if the memory is flat and they are all in one segment.

    Raises:
        MemoryReadError: They have gone: its file was closed, or cut off.
    """
    if not is_flat(memory):
        return None
    check: Any = getattr(memory, "check_extent", None)
    if check is not None:
        check()
    return memory.view(paddr, size)
