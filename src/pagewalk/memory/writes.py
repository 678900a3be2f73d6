"""The door through which pagewalk writes to a memory; whoever keeps what was read learns there that it may be old."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pagewalk.errors import MemoryWriteError
from pagewalk.memory.protocol import is_writable

if TYPE_CHECKING:
    from pagewalk.memory.protocol import Memory

__all__ = ["note_write", "write_to", "writes"]

_lock = threading.Lock()
_count = 0


def writes() -> int:
    """How many writes there were so far, to any memory. What was read at another count may be old."""
    return _count


def note_write(seen: int) -> int:
    """Count a write that is done.

    Args:
        seen: The count at which the writer last knew the memory.

    Returns:
        The count at which it knows it now: the new one, unless somebody else has written meanwhile.
    """
    global _count
    with _lock:
        _count += 1
        return _count if seen == _count - 1 else seen


def write_to(memory: Memory, paddr: int, data: bytes, seen: int = -1) -> int:
    """Write, and count it; returns what ``note_write`` does.

    Raises:
        MemoryWriteError: The memory has no such place, or cannot be written.
    """
    if not is_writable(memory):
        raise MemoryWriteError(paddr, len(data), f"{type(memory).__name__} has no write method")
    try:
        memory.write(paddr, data)
    finally:
        seen = note_write(seen)
    return seen
