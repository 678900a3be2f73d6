"""ELF cores: one guest's memory in every layout is listed as its raw image is; what is not there is told apart."""

from __future__ import annotations

import pickle
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import pagewalk as pw
from pagewalk.memory import extents_of
from pagewalk.memory.dumps.elf import ElfCore
from pagewalk.memory.dumps.kcore import LiveCore
from pagewalk.sources import source
from pagewalk.testing import check_memory
from tests.memory.cores import HIGH, Load, core, note, qemu_state, vmcoreinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.guests import Guest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def written(data: bytes) -> Path:
        path = tmp_path / "core"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return path

    return written


def parts(ram: bytes, size: int) -> Iterator[Load]:
    for at in range(0, len(ram), size):
        yield Load(at, ram[at : at + size])


def some(ram: bytes) -> list[Load]:
    return list(parts(ram, 10 << 20))


def overlapping(ram: bytes) -> list[Load]:
    """The first header that has a byte counts; what is the same place in the file is no contradiction."""
    half = len(ram) // 2
    return [Load(0, ram[:half]), Load(half - 4096, ram[half - 4096 :]), Load(0, b"\xff" * 8192)]


def virtual(ram: bytes) -> list[Load]:
    return [Load(0, one.data, vaddr=HIGH + one.paddr) for one in some(ram)]


LAYOUTS: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda ram: core([Load(0, ram)]),
    "32 bits": lambda ram: core([Load(0, ram)], bits=32),
    "odd offsets": lambda ram: core(some(ram), b"\1" * 13),
    "backwards": lambda ram: core(some(ram)[::-1]),
    "headers last": lambda ram: core(some(ram), headers_last=True),
    "counted by a section": lambda ram: core(some(ram), extended=True),
    "32 bits, counted by a section": lambda ram: core(some(ram), extended=True, bits=32),
    "many headers": lambda ram: core(list(parts(ram, 1024)), extended=True),
    "overlapping": lambda ram: core(overlapping(ram)),
    "empty ones between": lambda ram: core([Load(0, b""), *some(ram), Load(1 << 50, b"", stored=0, size=0)]),
    "no physical addresses": lambda ram: core(virtual(ram)),
    "virtual ones beside": lambda ram: core([Load((1 << 64) - 1, b"z" * 64, vaddr=HIGH), *some(ram)]),
}
"""The same memory, laid out as many makers and accidents do."""


@pytest.fixture(scope="module")
def listings(guest: Guest) -> tuple[Any, Any]:
    """Those of the raw file."""
    tables = guest.tables()
    return pw.mappings(tables), pw.mappings(tables, coalesce=False)


class TestLayouts:
    """Each listing is byte-equal to the raw file's."""

    @pytest.mark.parametrize("name", list(LAYOUTS))
    def test_the_listing(self, name: str, listings: Any, guest: Guest, write: Any) -> None:
        with source(write(LAYOUTS[name](guest.ram))) as opened:
            assert extents_of(opened.memory).tolist() == [[0, len(guest.ram)]]
            tables = opened.tables(root=guest.root)
            for coalesce, listing in zip((True, False), listings, strict=True):
                np.testing.assert_array_equal(pw.mappings(tables, coalesce=coalesce), listing)

    @pytest.mark.parametrize("name", ["whole", "32 bits", "odd offsets", "headers last"])
    def test_another_reader(self, name: str, guest: Guest, write: Any) -> None:
        data = LAYOUTS[name](guest.ram)
        memory = ElfCore(write(data))
        for segment in ELFFile(BytesIO(data)).iter_segments("PT_LOAD"):
            assert memory.read(segment["p_paddr"], segment["p_filesz"]) == segment.data()

    def test_it_is_used_in_place(self, guest: Guest, write: Any) -> None:
        memory = ElfCore(write(core(list(parts(guest.ram, 10 << 20)))))
        view = memory.view(0x1000, 4096)
        assert view is not None
        assert view.obj is memory._map
        check_memory(memory, 0, len(guest.ram))

    def test_pickled(self, write: Any) -> None:
        memory = ElfCore(write(core([Load(0x1000, b"abcd" * 2048)])))
        again = pickle.loads(pickle.dumps(memory))
        assert again.read(0x1000, 4) == b"abcd"
        assert again.missing == memory.missing

    def test_written(self, write: Any) -> None:
        path = write(core([Load(0x1000, b"abcd" * 2048)]))
        memory = ElfCore(path, writable=True)
        memory.write(0x1004, b"ABCD")
        assert ElfCore(path).read(0x1000, 8) == b"abcdABCD"


class TestRegisters:
    """A core with a CPU's registers needs no root."""

    def test_no_root(self, guest: Guest, write: Any) -> None:
        state = qemu_state(cr3=guest.registers["cr3"], cr4=guest.registers["cr4"])
        path = write(core([Load(0, guest.ram)], note(b"CORE", 1, bytes(336)) + state))
        tables = pw.open(path)
        assert (tables.root, tables.format.name) == (guest.root, "x86-64")
        np.testing.assert_array_equal(pw.mappings(tables), pw.mappings(guest.tables()))

    def test_they_can_be_complemented_and_overruled(self, write: Any) -> None:
        path = write(core([Load(0, bytes(64 << 10))], qemu_state(cr3=0x1000, cr4=0x20)))
        assert pw.open(path).root == 0x1000
        assert pw.open(path, registers="pkru=0x4").root == 0x1000
        assert pw.open(path, registers={"CR3": 0x3000}).root == 0x3000
        assert pw.open(path, root=0x2000).root == 0x2000
        with pytest.raises(pw.UnsupportedError, match="different architectures"):
            pw.open(path, registers={"satp": 8 << 60 | 1})

    def test_the_first_cpu_that_translates(self, write: Any) -> None:
        off, on = qemu_state(cr0=0x10, cr3=0, cr4=0), qemu_state(cr3=0x5000, cr4=0x20)
        opened = source(write(core([Load(0, bytes(64 << 10))], off + on)))
        assert len(opened.cpus) == 2
        assert opened.tables().root == 0x5000
        only = source(write(core([Load(0, bytes(64 << 10))], off)))
        with pytest.raises(pw.UnsupportedError, match="paging is off"):
            only.tables()

    @pytest.mark.parametrize(("cr4", "name"), [(0x20, "pae"), (0, "ia32")])
    def test_a_machine_of_32_bits(self, cr4: int, name: str, write: Any) -> None:
        path = write(core([Load(0, bytes(64 << 10))], qemu_state(cr3=0x1000, cr4=cr4), bits=32, machine=3))
        assert pw.open(path).format.name == name

    def test_five_levels(self, write: Any) -> None:
        path = write(core([Load(0, bytes(64 << 10))], qemu_state(cr3=0x1000, cr4=0x1020)))
        assert pw.open(path).format.name == "x86-64-la57"

    @pytest.mark.parametrize("machine", [183, 243, 40, 999])
    def test_other_machines_notes_have_none(self, machine: int, write: Any) -> None:
        notes = note(b"CORE", 1, bytes(392)) + qemu_state(cr3=0x1000, cr4=0x20)
        opened = source(write(core([Load(0, bytes(8192))], notes, machine=machine)))
        assert opened.cpus == ()
        assert "general ones of 1 CPUs" in opened.missing[0]
        with pytest.raises(TypeError, match="give a root, or registers"):
            opened.tables()

    def test_a_state_of_another_version(self, write: Any) -> None:
        assert ElfCore(write(core([Load(0, b"1")], qemu_state(cr3=1, cr4=0x20, version=2)))).cpus == ()


class TestNotes:
    def test_vmcoreinfo(self, write: Any) -> None:
        notes = vmcoreinfo("OSRELEASE=6.12", "no key", "A=b=c", "A=d", "KERNELOFFSET=24000000")
        memory = ElfCore(write(core([Load(0, b"1")], notes + vmcoreinfo("OSRELEASE=1"))))
        assert memory.vmcoreinfo == {"OSRELEASE": "6.12", "A": "b=c", "KERNELOFFSET": "24000000"}
        assert not any("VMCOREINFO" in sentence for sentence in memory.missing)

    @pytest.mark.parametrize(
        "notes",
        [
            struct.pack("<3I", 5, 0xFFFF_FFFF, 0) + b"QEMU\0\0\0\0",
            struct.pack("<3I", 0xFFFF_FFF0, 16, 0) + b"QEMU\0\0\0\0",
            struct.pack("<3I", 0, 0, 1) * 200_000,
        ],
    )
    def test_hostile_ones_are_left(self, notes: bytes, write: Any) -> None:
        memory = ElfCore(write(core([Load(0, b"1")], vmcoreinfo("A=1") + notes)))
        assert memory.vmcoreinfo == {"A": "1"}
        assert any("notes are read in part" in sentence for sentence in memory.missing)


class TestWhatIsNotThere:
    """Left out of the dump, cut off it, or never there: three things."""

    def test_left_out(self, write: Any) -> None:
        memory = ElfCore(write(core([Load(0x1000, b"x" * 4096, size=0x3000), Load(0x8000, b"y" * 4096)])))
        assert memory.read(0x1000, 4096) == b"x" * 4096
        with pytest.raises(pw.PageNotInDump, match="cannot read 8 bytes at physical 0x2000: the dump leaves them out"):
            memory.read(0x2000, 8)
        with pytest.raises(pw.PageNotInDump):
            memory.read(0x1FFC, 8)
        with pytest.raises(pw.MemoryReadError, match="outside the memory") as caught:
            memory.read(0x4000, 8)
        assert type(caught.value) is pw.MemoryReadError
        assert memory.missing[-1] == "0x2000 bytes of memory are left out of it, the first at 0x2000"
        assert not memory.holds_frames

    def test_cut_off(self, guest: Guest, write: Any) -> None:
        data = core([Load(0, guest.ram)])
        memory = ElfCore(write(data[: len(data) - (1 << 20)]))
        assert memory.read(0, 4096) == guest.ram[:4096]
        with pytest.raises(pw.PageNotInDump, match="the dump is cut off before them"):
            memory.read(len(guest.ram) - 4096, 8)
        assert any("the file is cut off" in sentence for sentence in memory.missing)

    def test_a_mapping_that_is_stored_elsewhere(self, write: Any) -> None:
        """QEMU's ``paging`` gives a mapping less than it has where a block of memory ends; another header has it."""
        memory = ElfCore(write(core([Load(0, b"a" * 4096, size=8192), Load(4096, b"b" * 4096)])))
        assert memory.read(0, 8192) == b"a" * 4096 + b"b" * 4096
        assert memory.holds_frames

    def test_what_no_header_names(self, write: Any) -> None:
        """QEMU's ``paging`` names what tables map, and stores all of each block: bytes between are memory too."""
        state, page = qemu_state(cr3=0x1000, cr4=0x20), 4096
        begin = len(core([Load(0, b"")] * 2, state))
        ram = b"".join(bytes([at]) * page for at in range(8))
        named = [Load(at * page, ram if at == 2 else b"", stored=page, offset=begin + at * page) for at in (2, 5)]
        memory = ElfCore(write(core(named, state)))
        assert memory.read(0, 6 * page) == ram[: 6 * page]
        assert any("0x4000 bytes were found" in sentence for sentence in memory.missing)
        with pytest.raises(pw.MemoryReadError, match="outside"):
            memory.read(6 * page, 1)
        assert not any("found" in sentence for sentence in ElfCore(write(core([Load(0, ram)], state))).missing)
        without = ElfCore(write(core(named, note(b"GNOME", 0, bytes(440)))))
        assert extents_of(without).tolist() == [[2 * page, 3 * page], [5 * page, 6 * page]]

    def test_not_stored_at_all(self, write: Any) -> None:
        """QEMU's filter: a header with an offset of -1 and no bytes."""
        nothing = Load(0x10000, b"", offset=(1 << 64) - 1, stored=0, size=4096)
        memory = ElfCore(write(core([Load(0, b"a" * 4096), nothing])))
        with pytest.raises(pw.PageNotInDump):
            memory.read(0x10000, 1)

    def test_closed(self, write: Any) -> None:
        memory = ElfCore(write(core([Load(0, b"a" * 4096)])))
        memory.close()
        with pytest.raises(pw.MemoryReadError, match="was closed"):
            memory.read(0, 1)


class TestRefused:
    """One line each, which says what it is."""

    @pytest.mark.parametrize(
        ("data", "error", "says"),
        [
            (core([Load(0, b"1")], kind=2), pw.UnsupportedError, "an ELF file of type 2 is no core"),
            (core([Load(0, b"1")], order=">", machine=22), pw.UnsupportedError, r"a big-endian core \(s390\)"),
            (core([Load(0, b"1")])[:40], pw.ImageFormatError, "an ELF header that is cut off"),
            (core([Load(0, b"1")])[:100], pw.ImageFormatError, "2 program headers at 0x40 are not in the file"),
            (core([Load(0, b"1")])[:150], pw.ImageFormatError, "there is no memory in it"),
            (core([]), pw.ImageFormatError, "there is no memory in it"),
            (core([Load(0, b"1")], count=0), pw.ImageFormatError, "without program headers"),
            (core([Load(0, b"1")], count=0xFFFF), pw.ImageFormatError, "a section header at 0x0, which is not in"),
            (core([Load(0, b"1")], count=1 << 31, extended=True), pw.ImageFormatError, "2,147,483,648 program headers"),
            (core([Load((1 << 64) - 4096, b"1", size=8192)]), pw.ImageFormatError, "end beyond 64 bits"),
            (core([Load(0, b"1", stored=1 << 62, offset=1 << 62)]), pw.ImageFormatError, "the file is cut off"),
            (
                core([Load(0, b"1", vaddr=4096), Load(0, b"2", vaddr=8192)]),
                pw.UnsupportedError,
                "the core of a program",
            ),
            (
                core([Load(0, b"1", vaddr=HIGH), Load(0, b"2", vaddr=HIGH + 1)], machine=183),
                pw.ImageFormatError,
                "no physical addresses: say where its memory lies",
            ),
            (b"\x7fELF" + b"\3" * 60, pw.ImageFormatError, "class 3 and byte order 3"),
        ],
    )
    def test_why(self, data: bytes, error: type[Exception], says: str, write: Any) -> None:
        path = write(data)
        with pytest.raises(error, match=says) as caught:
            source(path)
        assert str(caught.value).startswith(str(path))

    def test_a_xen_core(self, write: Any) -> None:
        """Xen writes sections and no program headers: ``.xen_prstatus``, ``.xen_pages``, ``.xen_pfn``."""
        names = b"\0.note.Xen\0.xen_pages\0.xen_pfn\0.shstrtab\0"
        at = 64 + len(names)
        head = struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 0, at, 0, 64, 56, 0, 64, 2, 1)
        sections = bytes(64) + struct.pack("<2I4Q2I2Q", 1, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
        with pytest.raises(pw.UnsupportedError, match=r"a Xen core: .* take a kdump"):
            source(write(b"\x7fELF\2\1\1".ljust(16, b"\0") + head + names + sections))

    def test_much_more_than_there_is(self, write: Any) -> None:
        memory = ElfCore(write(core([Load(0, b"x" * 4096, stored=1 << 61, size=1 << 62)])))
        assert extents_of(memory).tolist() == [[0, 4096]]
        with pytest.raises(pw.PageNotInDump, match="leaves them out"):
            memory.read(1 << 61, 8)


class TestLiveCore:
    """``/proc/kcore`` is read, never mapped. Its class reads any core, so that it is tested where there is none."""

    @pytest.fixture
    def live(self, guest: Guest, write: Any) -> Iterator[LiveCore]:
        loads = [Load((1 << 64) - 1, b"v" * 64, vaddr=0xFFFF_C900_0000_0000), *parts(guest.ram, 10 << 20)]
        memory = LiveCore(write(core(loads, vmcoreinfo("OSRELEASE=6.12"))))
        yield memory
        memory.close()

    def test_it_is_a_memory(self, live: LiveCore, guest: Guest) -> None:
        check_memory(live, 0, len(guest.ram), close=False)
        assert extents_of(live).tolist() == [[0, len(guest.ram)]]
        assert live.vmcoreinfo == {"OSRELEASE": "6.12"}
        assert "torn" in live.missing[-1]

    def test_the_listing(self, live: LiveCore, guest: Guest) -> None:
        tables = pw.PageTables(live, guest.root, "x86-64")
        ours, raws = pw.mappings(tables), pw.mappings(guest.tables())
        assert len(ours)
        for name in ("vaddr", "paddr", "size", "kind"):
            assert set(ours[name]) <= set(raws[name])

    def test_read_only(self, live: LiveCore) -> None:
        with pytest.raises(pw.UnsupportedError, match="nobody write"):
            LiveCore(live.path, writable=True)
        with pytest.raises(TypeError, match="running machine"):
            pickle.dumps(live)

    def test_no_core(self, tmp_path: Path) -> None:
        path = tmp_path / "kcore"
        path.write_bytes(b"something else")
        with pytest.raises(pw.ImageFormatError, match="no ELF file"):
            LiveCore(path)
