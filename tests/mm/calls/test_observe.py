"""What an address space shows of itself: the text of maps, and the log of what the MMU was told."""

import re
from pathlib import Path

import pytest

from pagewalk import abi
from pagewalk.mm import Event
from tests.mm.sizes import PAGE

RW = abi.PROT_READ | abi.PROT_WRITE
LINE = re.compile(r"[0-9a-f]{8,16}-[0-9a-f]{8,16} [r-][w-][x-][ps] [0-9a-f]{8} [0-9a-f]{2,}:[0-9a-f]{2,} \d+ ( *\S.*)?")


def name_column(text):
    """Where the names begin, over all lines that have one."""
    fields = re.compile(r"^(?:\S+ +){5}(?=\S)")
    return {len(found[0]) for line in text.splitlines() if (found := fields.match(line))}


class TestMaps:
    def test_columns_are_those_of_proc(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        mm.mmap(PAGE, RW)
        mm.mmap(PAGE, abi.PROT_READ, abi.MAP_SHARED, file=tank.file("/memfd:name", size=PAGE))
        real = Path("/proc/self/maps").read_text()
        assert all(LINE.fullmatch(line) for line in real.splitlines())
        assert all(LINE.fullmatch(line) for line in mm.maps().splitlines())
        assert name_column(mm.maps()) <= name_column(real)

    def test_rights_offset_and_name(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        file = tank.file("/memfd:name", size=4 * PAGE)
        at = mm.mmap(2 * PAGE, abi.PROT_READ | abi.PROT_EXEC, abi.MAP_SHARED, file=file, offset=PAGE)
        addresses, rights, offset, device, _, name = mm.maps().split()
        assert addresses == f"{at:x}-{at + 2 * PAGE:x}"
        assert (rights, offset, device, name) == ("r-xs", "00001000", "00:00", "/memfd:name")


class TestEvents:
    def test_a_fault_tells_where_it_installed(self, new_tank):
        mm = new_tank().mm()
        at = mm.mmap(4 * PAGE, RW)
        mm.write(at, b"first")
        mm.madvise(at, 4 * PAGE, abi.MADV_DONTNEED)
        mm.events.clear()
        mm.write(at + PAGE, b"x")
        assert list(mm.events) == [Event("install", at + PAGE, at + 2 * PAGE)]

    def test_every_kind_of_fault(self, new_tank):
        """``update_mmu_cache`` is called with the address of the page, whatever filled it."""
        tank = new_tank(swap=1 << 20)
        mm = tank.mm()
        file = tank.file(size=PAGE)
        at = mm.mmap(PAGE, RW)
        mapped = mm.mmap(PAGE, RW, abi.MAP_PRIVATE, file=file)
        mm.write(at, b"x")
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        mm.events.clear()
        mm.read(at, 1)  # swapped in
        mm.write(mapped, b"x")  # copied
        assert list(mm.events) == [Event("install", page, page + PAGE) for page in (at, mapped)]

    def test_guards_are_installed_one_by_one(self, new_tank):
        mm = new_tank().mm()
        at = mm.mmap(3 * PAGE, RW)
        mm.madvise(at, 3 * PAGE, abi.MADV_GUARD_INSTALL)
        assert list(mm.events) == [Event("install", at + page * PAGE, at + (page + 1) * PAGE) for page in range(3)]

    @pytest.mark.parametrize("call", ["guard", "dontneed", "mprotect", "munmap", "mremap", "fork"])
    def test_what_is_taken_away_is_flushed(self, new_tank, call):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(3 * PAGE, RW)
        mm.touch(at, 3 * PAGE)
        mm.events.clear()
        calls = {
            "guard": lambda: mm.madvise(at, PAGE, abi.MADV_GUARD_INSTALL),
            "dontneed": lambda: mm.madvise(at, PAGE, abi.MADV_DONTNEED),
            "mprotect": lambda: mm.mprotect(at, PAGE, abi.PROT_READ),
            "munmap": lambda: mm.munmap(at, PAGE),
            "mremap": lambda: mm.mremap(at, PAGE, PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, at - 64 * PAGE),
            "fork": lambda: tank.fork(mm),
        }
        calls[call]()
        flushed = [event for event in mm.events if event.name == "flush"]
        assert any(event.start <= at and at + PAGE <= event.end for event in flushed)
