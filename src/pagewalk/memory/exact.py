"""``read_exactly``, ``read_each``, ``fill_each``: the doors to a memory that somebody else may have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.doors import shown
from pagewalk.errors import MemoryReadError, PagewalkError
from pagewalk.memory.protocol import ReadsMany

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.memory.protocol import Fills, Memory

__all__ = ["BadAnswer", "fill_each", "read_each", "read_exactly"]


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
    return _as_bytes(f"{type(memory).__name__}.read", data, paddr, size)


def read_each(memory: Memory, paddrs: Sequence[int], size: int) -> list[bytes | None]:
    """``size`` bytes at each address: one ``read_many`` where the memory has it, else a ``read`` each. Checked alike.

    Returns:
        The bytes in the order of the addresses; None where the memory does not have all of them.

    Raises:
        BadAnswer: The memory answered something else, or raised what no memory raises.
    """
    if not isinstance(memory, ReadsMany):
        return [_or_none(memory, paddr, size) for paddr in paddrs]
    if not paddrs:
        return []
    name = f"{type(memory).__name__}.read_many"
    try:
        answers: Any = list(memory.read_many(paddrs, size))
    except (BadAnswer, MemoryError):
        raise
    except Exception as error:
        why = f"{name} raised {type(error).__name__}: {shown(str(error))}"
        raise BadAnswer(paddrs[0], size, why) from error
    if len(answers) != len(paddrs):
        raise BadAnswer(paddrs[0], size, f"{name} gave {len(answers)} answers for {len(paddrs)} addresses")
    return [
        data if data is None or (type(data) is bytes and len(data) == size) else _as_bytes(name, data, paddr, size)
        for paddr, data in zip(paddrs, answers, strict=True)
    ]


def fill_each(memory: Fills, paddrs: Sequence[int], size: int, buffer: memoryview) -> list[bool]:
    """``memory.fill``, with its answer checked.

    Returns:
        Which are there, in the order of the addresses.

    Raises:
        BadAnswer: The memory answered something else, or raised what no memory raises.
    """
    name = f"{type(memory).__name__}.fill"
    try:
        there = [bool(one) for one in memory.fill(paddrs, size, buffer)]
    except (BadAnswer, MemoryError):
        raise
    except Exception as error:
        why = f"{name} raised {type(error).__name__}: {shown(str(error))}"
        raise BadAnswer(paddrs[0], size, why) from error
    if len(there) != len(paddrs):
        raise BadAnswer(paddrs[0], size, f"{name} gave {len(there)} answers for {len(paddrs)} addresses")
    return there


def _or_none(memory: Memory, paddr: int, size: int) -> bytes | None:
    """What is read, or None if the memory does not have all of it."""
    try:
        return read_exactly(memory, paddr, size)
    except BadAnswer:
        raise
    except MemoryReadError:
        return None


def _as_bytes(name: str, data: Any, paddr: int, size: int) -> bytes:
    """An answer that is not bytes of the right size, as bytes if it can be taken for them."""
    answered = f"{name} answered"
    try:
        data = memoryview(data).tobytes()
    except (TypeError, ValueError):
        raise BadAnswer(paddr, size, f"{answered} {shown(data)}, not bytes") from None
    if len(data) != size:
        raise BadAnswer(paddr, size, f"{answered} {len(data)} bytes")
    return data
