"""A cache before a slow memory: the same bytes, fewer reads, a bounded size."""

import pytest

from pagewalk.errors import MemoryReadError, MemoryWriteError
from pagewalk.memory import Ram
from pagewalk.memory.cache import CachedMemory
from pagewalk.query import mappings
from pagewalk.tables import PageTables
from pagewalk.testing import check_memory
from tests.world import PAGE, G, M, World

BASE = 0x4000_0000


class Slow:
    """Counts what it is asked."""

    def __init__(self, inner, size=None):
        self.inner, self.size = inner, size
        self.reads = []

    def read(self, paddr, size):
        self.reads.append((paddr, size))
        if self.size is not None and paddr + size > self.size:
            raise MemoryReadError(paddr, size)
        return self.inner.read(paddr, size)


def test_it_is_a_memory():
    check_memory(CachedMemory(Ram(64 << 10), tables=2), 0, 64 << 10, writable=True)
    check_memory(CachedMemory(Slow(Ram(64 << 10, 0x8000), 0x9234), tables=3), 0x8000, 0x1234, writable=False)


def test_a_table_is_read_once():
    world = World()
    for at in range(10):
        world.map(BASE + at * PAGE, at * PAGE)
    slow = Slow(world.memory)
    tables = PageTables(CachedMemory(slow), 0)
    for at in range(10):
        assert tables.translate(BASE + at * PAGE).paddr == at * PAGE
    assert len(slow.reads) == 4
    assert mappings(tables).tolist() == mappings(world.tables).tolist()
    assert len(slow.reads) == 4


def test_the_size_is_bounded_and_the_oldest_goes():
    slow = Slow(Ram(1 * M))
    cache = CachedMemory(slow, tables=4)
    for at in (0, 1, 2, 3, 0, 4, 0, 1):
        cache.read(at * PAGE, 8)
    assert [paddr // PAGE for paddr, _ in slow.reads] == [0, 1, 2, 3, 4, 1]
    assert (cache.hits, cache.misses) == (2, 6)
    assert "4 of 4" in repr(cache)


def test_what_is_written_is_read():
    cache = CachedMemory(Ram(64 << 10))
    assert cache.read(PAGE - 4, 8) == bytes(8)
    cache.write(PAGE - 4, b"12345678")
    assert cache.read(PAGE - 4, 8) == b"12345678"


def test_what_changes_behind_it_is_seen_when_told():
    ram = Ram(64 << 10)
    cache = CachedMemory(ram)
    cache.read(0, 8)
    ram.write(0, b"12345678")
    assert cache.read(0, 8) == bytes(8)
    cache.clear()
    assert cache.read(0, 8) == b"12345678"


def test_errors_say_what_was_asked():
    cache = CachedMemory(Slow(Ram(64 << 10), 64 << 10))
    with pytest.raises(MemoryReadError) as caught:
        cache.read(1 * G + 3, 5)
    assert (caught.value.paddr, caught.value.size) == (1 * G + 3, 5)
    with pytest.raises(MemoryWriteError, match="no write method"):
        cache.write(0, b"1")
    with pytest.raises(ValueError, match="at least"):
        CachedMemory(Ram(4096), tables=0)
