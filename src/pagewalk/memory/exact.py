"""``read_exactly``: the one door through which every reader asks a memory that somebody else may have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.doors import shown
from pagewalk.errors import MemoryReadError, PagewalkError

if TYPE_CHECKING:
    from pagewalk.memory.protocol import Memory

__all__ = ["BadAnswer", "read_exactly"]


class BadAnswer(MemoryReadError):
    """A memory that breaks its promise, or whose file was cut off.

    Unlike bytes that were never there, this says nothing about the page tables: no table is malformed, and nothing is
    found.
    """


def read_exactly(memory: Memory, paddr: int, size: int) -> bytes:
    """``memory.read``, with its answer checked: neither fewer bytes nor more, and bytes.

    Raises:
        MemoryReadError: Not all of them are there.
        BadAnswer: The memory answered something else, or raised what no memory raises. ``check_memory`` finds such.
    """
    try:
        data: Any = memory.read(paddr, size)
    except (PagewalkError, MemoryError):
        raise
    except Exception as error:
        why = f"{type(memory).__name__}.read raised {type(error).__name__}: {shown(str(error))}"
        raise BadAnswer(paddr, size, why) from error
    if type(data) is bytes and len(data) == size:
        return data
    return _as_bytes(memory, data, paddr, size)


def _as_bytes(memory: Memory, data: Any, paddr: int, size: int) -> bytes:
    """An answer that is not bytes of the right size, as bytes if it can be taken for them."""
    answered = f"{type(memory).__name__}.read answered"
    try:
        data = memoryview(data).tobytes()
    except (TypeError, ValueError):
        raise BadAnswer(paddr, size, f"{answered} {shown(data)}, not bytes") from None
    if len(data) != size:
        raise BadAnswer(paddr, size, f"{answered} {len(data)} bytes")
    return data
