"""A kernel's linked lists, of which nothing is believed: each node must point back to the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.sources.linux.virtual import Unreadable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["nodes_of"]


def nodes_of(memory: Virtual, head: int, most: int, what: str, notes: list[str]) -> Iterator[int]:
    """The nodes of a list (``struct list_head``): forwards, and where it is broken the rest of it backwards.

    Args:
        memory: The kernel's.
        head: The list itself, which is no node.
        most: Nodes at most.
        what: What a note calls it.
        notes: Told if it is broken.
    """
    seen: set[int] = set()
    why = yield from _chain(memory, head, most, seen, forwards=True)
    if not why:
        return
    before = len(seen)
    back = yield from _chain(memory, head, most, seen, forwards=False)
    rest = f"{len(seen) - before:,} more from its end" + (f", where {back}" if back else "")
    notes.append(f"{what}: the list is broken after {before:,}, where {why}; {rest}")


def _chain(memory: Virtual, head: int, most: int, seen: set[int], *, forwards: bool) -> Generator[int, None, str]:
    """The nodes in one direction that were not seen; returns why it ended before the head, if it did."""
    ahead, behind = (0, 8) if forwards else (8, 0)
    last = head
    try:
        node = memory.word(head + ahead)
        while node != head:
            if node in seen:
                return f"{last:#x} leads to {node:#x}, which was there before"
            if len(seen) >= most:
                return f"there are more than {most:,}"
            if (back := memory.word(node + behind)) != last:
                return f"{node:#x} points back to {back:#x}, not to {last:#x}"
            seen.add(node)
            yield node
            last, node = node, memory.word(node + ahead)
    except Unreadable as error:
        return str(error)
    return ""
