"""Maple trees, in which kernels from 6.1 on keep the VMAs of an address space.

A node says up to where each of its slots reaches (*pivots*); the slots of a leaf hold what is there. A pointer to a
node has the node's type in its low byte, since nodes are aligned.

Source: ``include/linux/maple_tree.h``, ``lib/maple_tree.c``, Linux 6.1 to 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.sources.linux.btf import BtfError
from pagewalk.sources.linux.layout import Layout
from pagewalk.sources.linux.virtual import ENDS, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["Maple"]

_ALIGNED: Final = 256
"""Bytes that nodes are aligned to."""
_LEAF: Final = 1
_SHAPES: Final = {1: "maple_range_64", 2: "maple_range_64", 3: "maple_arange_64"}
"""What a node is, by its type: a leaf, a node above leaves, one that knows of gaps."""
_DEEPEST: Final = 31
_MOST: Final = 1 << 20
"""Nodes, in all trees of a kernel together."""
_WIDEST: Final = 64
"""Slots of a node."""


class _Shape(NamedTuple):
    """Where a node keeps what, in bytes, and how many there are."""

    pivots: int
    many_pivots: int
    slots: int
    many: int


class Maple:
    """The trees of a kernel.

    Args:
        btf: Its types.
        notes: Told what is wrong with them.

    Raises:
        BtfError: The types lack what is needed.
    """

    def __init__(self, btf: Btf, notes: list[str]) -> None:
        self._notes = notes
        self._root = Layout(btf, "maple_tree", ("ma_root",))
        self._shapes = {number: _shape(btf, name) for number, name in _SHAPES.items()}
        self._size = min(btf.size("maple_node"), _ALIGNED)
        self._visited = 0

    def ranges(self, memory: Virtual, tree: int, what: str) -> Iterator[tuple[int, int, int]]:
        """What is in a tree, ascending: a pointer, and the first and last index that it stands for.

        Args:
            memory: The kernel's.
            tree: The address of the tree.
            what: What a note calls it.

        Raises:
            Unreadable: The tree is not there.
        """
        (top,) = self._root.read(memory, tree)
        if not top & 3:
            if top:
                yield top, 0, 0
            return
        seen: set[int] = set()
        left = [(top, 0, ENDS - 1, 0)]
        while left:
            pointer, first, last, depth = left.pop()
            node, shape = pointer - pointer % _ALIGNED, self._shapes.get(pointer >> 3 & 15)
            if shape is None or depth > _DEEPEST or node in seen or self._visited > _MOST:
                self._notes.append(f"{what}: {pointer:#x} is no node of a maple tree, or was there before")
                continue
            seen.add(node)
            self._visited += 1
            try:
                data = memory.read(node, self._size)
            except Unreadable as error:
                self._notes.append(f"{what}: {error}")
                continue
            parts = list(self._parts(data, shape, first, last, f"{what}: the node {node:#x}"))
            if pointer >> 3 & 15 == _LEAF:
                yield from (part for part in parts if not part[0] & 3)  # others are reserved, as while a process forks
            else:
                left += [(*part, depth + 1) for part in reversed(parts)]

    def _parts(self, data: bytes, shape: _Shape, first: int, last: int, what: str) -> Iterator[tuple[int, int, int]]:
        """The slots of a node that hold something, each with its first and last index."""
        pivots = memoryview(data)[shape.pivots : shape.pivots + 8 * shape.many_pivots].cast("Q")
        slots = memoryview(data)[shape.slots : shape.slots + 8 * shape.many].cast("Q")
        for at in range(shape.many):
            pivot = pivots[at] if at < shape.many_pivots else last
            if at and not pivot:
                pivot = last  # no more are in use
            if not first <= pivot <= last:
                self._notes.append(f"{what} reaches up to {pivot:#x}, which is not in {first:#x} to {last:#x}")
                return
            if slots[at]:
                yield slots[at], first, pivot
            if pivot == last:
                return
            first = pivot + 1


def _shape(btf: Btf, name: str) -> _Shape:
    """The shape of a kind of node.

    Raises:
        BtfError: It cannot be one.
    """
    pivots, slots = btf.field(name, "pivot"), btf.field(name, "slot")
    if pivots is None or slots is None:
        raise BtfError(f"struct {name} has no pivots or slots")
    found = _Shape(pivots.offset, btf.count(pivots), slots.offset, btf.count(slots))
    ends = found.pivots + 8 * found.many_pivots, found.slots + 8 * found.many
    if max(ends) > min(btf.size("maple_node"), _ALIGNED) or (found.pivots | found.slots) & 7 or found.many > _WIDEST:
        raise BtfError(f"struct {name} does not fit into a node")
    return found
