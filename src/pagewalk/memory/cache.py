"""A cache before a slow memory: a debugger, a remote machine, a compressed dump."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, shortened
from pagewalk.errors import MemoryReadError, MemoryWriteError
from pagewalk.memory.exact import BadAnswer, read_exactly

if TYPE_CHECKING:
    from pagewalk.memory.protocol import Memory

__all__ = ["CachedMemory"]

BLOCK: Final = 4096


class CachedMemory:
    """Keeps the blocks of 4096 bytes that were read last: a page table is one.

    What the memory itself changes meanwhile is not seen until ``clear()``; what is written through the cache is.

    Args:
        memory: The slow one.
        tables: How many blocks to keep; the one not used for longest goes first.

    Raises:
        ValueError: None are to be kept.

    Attributes:
        hits, misses: Blocks that were there, and blocks that had to be read.
    """

    def __init__(self, memory: Memory, *, tables: int = 4096) -> None:
        tables = integer(tables, "tables")
        if tables < 1:
            raise ValueError(f"a cache holds a table at least, not {tables}")
        self.memory = memory
        self.tables = tables
        self.hits = 0
        self.misses = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<CachedMemory of {shortened(repr(self.memory))}: {len(self._blocks)} of {self.tables} tables>"

    def __reduce__(self) -> tuple[Any, ...]:
        """The memory, and an empty cache before it."""
        return partial(type(self), tables=self.tables), (self.memory,)

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            MemoryReadError: Not all of them are there.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        first = paddr // BLOCK * BLOCK
        if size <= 0 or paddr < 0 or size > self.tables * BLOCK:
            return read_exactly(self.memory, paddr, size)
        blocks = [self._block(at) for at in range(first, paddr + size, BLOCK)]
        if None in blocks:  # the memory ends within a block
            return read_exactly(self.memory, paddr, size)
        whole = blocks[0] if len(blocks) == 1 else b"".join(block for block in blocks if block is not None)
        assert whole is not None
        return whole[paddr - first : paddr - first + size]

    def _block(self, paddr: int) -> bytes | None:
        """One block; None if the memory does not have all of it."""
        with self._lock:
            block = self._blocks.get(paddr)
            if block is not None:
                self._blocks.move_to_end(paddr)
                self.hits += 1
                return block
            self.misses += 1
            generation = self._generation
        try:
            block = read_exactly(self.memory, paddr, BLOCK)
        except BadAnswer:
            raise
        except MemoryReadError:
            return None
        with self._lock:
            if generation == self._generation:  # else it may be older than what was written meanwhile
                self._blocks[paddr] = block
                while len(self._blocks) > self.tables:
                    self._blocks.popitem(last=False)
        return block

    def write(self, paddr: int, data: bytes) -> None:
        """Write ``data`` at ``paddr``, through to the memory.

        Raises:
            MemoryWriteError: Not all of it has a place, or the memory cannot be written.
        """
        paddr = integer(paddr, "paddr")
        write = getattr(self.memory, "write", None)
        if write is None:
            raise MemoryWriteError(paddr, len(data), f"{type(self.memory).__name__} has no write method")
        try:
            write(paddr, data)
        finally:
            with self._lock:
                self._generation += 1
                for at in range(paddr // BLOCK * BLOCK, paddr + len(data), BLOCK):
                    self._blocks.pop(at, None)

    def clear(self) -> None:
        """Forget everything: the memory has changed."""
        with self._lock:
            self._generation += 1
            self._blocks.clear()
