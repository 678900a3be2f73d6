"""A cache before a slow memory: a debugger, a remote machine, a compressed dump."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, shortened
from pagewalk.errors import MemoryWriteError
from pagewalk.memory.exact import read_each, read_exactly
from pagewalk.memory.protocol import Closable

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        found = self._cut(self._fetched(range(first, paddr + size, BLOCK)), paddr, size)
        return read_exactly(self.memory, paddr, size) if found is None else found  # the memory ends within a block

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Read ``size`` bytes at each address; what is not here is asked of the memory at once. None: not all there."""
        paddrs, size = [integer(paddr, "paddr") for paddr in paddrs], integer(size, "size")
        if size <= 0 or size > self.tables * BLOCK:
            return read_each(self.memory, paddrs, size)
        needed = {at for paddr in paddrs if paddr >= 0 for at in range(paddr // BLOCK * BLOCK, paddr + size, BLOCK)}
        blocks = self._fetched(sorted(needed))
        found = [None if paddr < 0 else self._cut(blocks, paddr, size) for paddr in paddrs]
        missing = [at for at, data in enumerate(found) if data is None]
        for at, data in zip(missing, read_each(self.memory, [paddrs[at] for at in missing], size), strict=True):
            found[at] = data  # the memory ends within a block
        return found

    @staticmethod
    def _cut(blocks: dict[int, bytes | None], paddr: int, size: int) -> bytes | None:
        """Bytes out of blocks; None if one of these is not there."""
        first = paddr // BLOCK * BLOCK
        parts = [blocks[at] for at in range(first, paddr + size, BLOCK)]
        whole = parts[0] if len(parts) == 1 else b"".join(filter(None, parts)) if None not in parts else None
        return None if whole is None else whole[paddr - first : paddr - first + size]

    def _fetched(self, wanted: Sequence[int]) -> dict[int, bytes | None]:
        """Blocks; None for one of which the memory does not have all."""
        with self._lock:
            found: dict[int, bytes | None] = {at: self._blocks[at] for at in wanted if at in self._blocks}
            for at in found:
                self._blocks.move_to_end(at)
            self.hits += len(found)
            self.misses += len(wanted) - len(found)
            generation = self._generation
        missing = [at for at in wanted if at not in found]
        answers = dict(zip(missing, read_each(self.memory, missing, BLOCK), strict=True))
        with self._lock:
            if generation == self._generation:  # else it may be older than what was written meanwhile
                self._blocks.update((at, block) for at, block in answers.items() if block is not None)
                while len(self._blocks) > self.tables:
                    self._blocks.popitem(last=False)
        return found | answers

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

    def close(self) -> None:
        """Close the memory, if it can be closed, and forget everything."""
        self.clear()
        if isinstance(self.memory, Closable):
            self.memory.close()

    def clear(self) -> None:
        """Forget everything: the memory has changed."""
        with self._lock:
            self._generation += 1
            self._blocks.clear()
