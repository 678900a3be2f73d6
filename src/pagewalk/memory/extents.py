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

__all__ = ["BLOCK", "blocks_of", "extents_of", "frames_of", "lacks_frame"]

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


def frames_of(memory: Memory) -> npt.NDArray[np.uint64] | None:
    """Where a machine had memory, as far as its dump knows: as ``extents_of``; None if it does not claim to know.

    It claims so by ``holds_frames``. What it leaves out is memory too: an attribute ``frames`` says where that is.
    """
    if not getattr(memory, "holds_frames", False):
        return None
    frames = getattr(memory, "frames", None)
    return extents_of(memory) if frames is None else frames


def lacks_frame(memory: Memory, paddr: int) -> bool:
    """Whether the machine is known to have had no memory at an address."""
    if is_flat(memory):
        return getattr(memory, "holds_frames", False) and memory.view(paddr, 1) is None
    frames = frames_of(memory)
    return frames is not None and not any(start <= paddr < end for start, end in frames.tolist())


def blocks_of(
    memory: Memory, size: int = BLOCK, *, first: int = 0, end: int = 1 << 64
) -> Iterator[tuple[int, memoryview]]:
    """All bytes of a memory in passing: a physical address, and the bytes from there on.

    Args:
        memory: One that says where it has bytes.
        size: Bytes of a block at most, a power of two. A block begins on a multiple of it, or where a run of memory
            does, and ends with that run.
        first, end: Physical addresses: only what lies between.

    Yields:
        The address and the bytes, ascending. They are read-only for the caller, and gone with the next block: those of
        a flat memory are shown where they lie, those of another are overwritten by the next.

    Raises:
        UnsupportedError: It does not say where it has memory.
        MemoryReadError: What it says it has cannot be read.
    """
    buffer = None
    for run, run_end in extents_of(memory).tolist():
        at, last = max(run, first), min(run_end, end)
        while at < last:
            stop = min(last, (at // size + 1) * size)
            block = _in_place(memory, at, stop - at)
            if block is None:
                buffer = memoryview(bytearray(size)) if buffer is None else buffer
                block = buffer[: stop - at]
                _read(memory, at, block)
            yield at, block
            at = stop


def _in_place(memory: Memory, paddr: int, size: int) -> memoryview | None:
    """The bytes at an address where they lie; None: they cannot be shown there."""
    if not is_flat(memory):
        return None
    check: Any = getattr(memory, "check_extent", None)
    if check is not None:
        check()  # its file may have been closed, or cut off
    return memory.view(paddr, size)


def _read(memory: Memory, paddr: int, buffer: memoryview) -> None:
    """Read the bytes at an address into a buffer of their size."""
    read_into: Any = getattr(memory, "read_into", None)
    if read_into is None:
        buffer[:] = read_exactly(memory, paddr, len(buffer))
    else:
        read_into(paddr, buffer)
