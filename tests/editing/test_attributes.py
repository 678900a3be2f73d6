"""What pages are, changed where they are; what cannot be said is refused by name, and then nothing has changed."""

from __future__ import annotations

import pytest

import pagewalk as pw
from pagewalk.formats import FORMATS
from tests.editing.bench import Workbench, said

NO_SYSTEM = ("riscv-sv32",)
"""Formats that no operating system has a layer on."""


def mapped(name: str, rights: str = "rwxu") -> tuple[Workbench, pw.Change]:
    bench = Workbench(name)
    change = bench.change()
    change.install(bench.base, bench.first_frame, 4 * bench.size, rights)
    return bench, change


def flags(change: pw.Change, vaddr: int) -> pw.Flag:
    return change.tables.translate(vaddr).flags


class TestRights:
    @pytest.mark.parametrize("name", FORMATS)
    def test_none_and_back(self, name):
        """PROT_NONE keeps the frame; what the operating system has no entry for is refused."""
        bench, change = mapped(name)
        before = said(change.tables, bench.base)
        if name in NO_SYSTEM:
            with pytest.raises(pw.UnsupportedError, match="unmap them instead"):
                change.protect(bench.base, bench.size, "----")
            assert said(change.tables, bench.base) == before
            return
        change.protect(bench.base, bench.size, "----")
        assert said(change.tables, bench.base) == (bench.first_frame, "----")
        change.protect(bench.base, bench.size, "r-xu")
        assert said(change.tables, bench.base) == (bench.first_frame, "r-xu")

    def test_dirty_pages_do_not_become_shadow_stacks(self):
        """x86-64 takes a page that is dirty and not writable for one: Linux keeps dirty aside (6.6)."""
        bench, change = mapped("x86-64", "rw-u")
        change.protect(bench.base, bench.size, "r--u")
        now = flags(change, bench.base)
        assert pw.Flag.SAVED_DIRTY in now
        assert pw.Flag.DIRTY not in now
        change.protect(bench.base, bench.size, "rw-u")
        now = flags(change, bench.base)
        assert pw.Flag.DIRTY in now
        assert pw.Flag.SAVED_DIRTY not in now

    def test_a_table_that_withholds(self):
        bench, change = mapped("x86-64")
        entry = next(change.tables.steps(bench.base))
        entry.value &= ~4
        with pytest.raises(
            pw.EditError, match=r"rwxu cannot be granted here: the PGD entry 0x[0-9a-f]+ at physical 0x"
        ):
            change.protect(bench.base, bench.size, "rwxu")
        with pytest.raises(pw.EditError, match="leaves rwx-"):
            change.install(bench.base + 8 * bench.size, bench.first_frame, bench.size, "rwxu")
        assert said(change.tables, bench.base + 8 * bench.size) is None

    @pytest.mark.parametrize(("name", "rights"), [("x86-64", "--xu"), ("riscv-sv39", "-w-u"), ("ia32", "r--u")])
    def test_what_the_format_cannot_say(self, name, rights):
        bench, change = mapped(name)
        with pytest.raises(pw.UnsupportedError, match=f"grants {rights} alone"):
            change.protect(bench.base, bench.size, rights)
        assert said(change.tables, bench.base) == (bench.first_frame, "rwxu")

    def test_part_of_a_large_page(self):
        bench = Workbench("arm64-4k")
        change, large = bench.change(), 2 << 20
        change.install(large, large, large, "rw-u", page_size=large)
        with pytest.raises(pw.NeedsSplit, match="the page of 0x200000 bytes at 0x200000 reaches out"):
            change.protect(large + 4096, 4096, "r--u")
        change.protect(large + 4096, 4096, "r--u", split=True)
        assert [said(change.tables, large + at * 4096) for at in range(3)] == [
            (large, "rw-u"),
            (large + 4096, "r--u"),
            (large + 8192, "rw-u"),
        ]

    def test_part_of_a_group(self):
        """Contiguous entries: the others stand alone, and map what they did."""
        bench = Workbench("arm64-4k")
        change, size = bench.change(), 64 << 10
        change.install(bench.base, 0x100000, size, "rw-u", page_size=size)
        assert change.tables.translate(bench.base).page_size == size
        with pytest.raises(pw.NeedsSplit):
            change.unmap(bench.base, 4096)
        change.unmap(bench.base, 4096, split=True)
        page = change.tables.translate(bench.base + 4096)
        assert (page.page_size, page.paddr) == (4096, 0x101000)

    def test_nothing_there(self):
        bench, change = mapped("x86-64")
        with pytest.raises(pw.EditError, match="no page is mapped in"):
            change.protect(bench.base + (1 << 20), bench.size, "rw-u")


class TestNumbers:
    def test_memory_types(self):
        bench, change = mapped("arm64-4k")
        change.set_memory(bench.base, 2 * bench.size, 3)
        rows = pw.mappings(change.tables)
        assert [(int(row["memory"]), int(row["size"])) for row in rows] == [(3, 2 * bench.size), (0, 2 * bench.size)]

    def test_keys(self):
        bench, change = mapped("x86-64")
        change.set_key(bench.base + bench.size, bench.size, 5)
        assert pw.mappings(change.tables)["pkey"].tolist() == [0, 5, 0]

    @pytest.mark.parametrize(
        ("name", "call", "number", "why"),
        [
            ("arm64-4k", "set_key", 1, "no protection key 1"),
            ("x86-64", "set_key", 16, "no protection key 16"),
            ("riscv-sv39", "set_memory", 3, "no memory type 3"),
            ("ia32", "set_memory", 8, "no memory type 8"),
            ("riscv-sv32", "set_memory", 1, "no memory type 1"),
        ],
    )
    def test_what_the_format_cannot_say(self, name, call, number, why):
        bench, change = mapped(name)
        with pytest.raises(pw.UnsupportedError, match=why):
            getattr(change, call)(bench.base, bench.size, number)

    def test_software_bits(self):
        bench, change = mapped("x86-64")
        *_, entry = change.tables.steps(bench.base)
        before = entry.value
        change.set_software(bench.base, bench.size, 0x3 << 52, 0x1 << 52)
        assert entry.value == before | 1 << 52
        change.set_software(bench.base, bench.size, 0x3 << 52, 0)
        assert entry.value == before

    @pytest.mark.parametrize(("mask", "why"), [(1, "mean something"), (1 << 58, "mean something"), (0x1000, "mean")])
    def test_bits_that_mean_something(self, mask, why):
        bench, change = mapped("x86-64")
        with pytest.raises(pw.UnsupportedError, match=why):
            change.set_software(bench.base, bench.size, mask, mask)
        with pytest.raises(ValueError, match="has bits that the mask"):
            change.set_software(bench.base, bench.size, 0, 1 << 52)


class TestMarkers:
    @pytest.mark.parametrize("name", FORMATS)
    def test_guards_come_and_go(self, name):
        bench = Workbench(name)
        change = bench.change()
        if name in NO_SYSTEM:
            with pytest.raises(pw.UnsupportedError, match=f"has no marker guard in {name}"):
                change.guard(bench.base, 2 * bench.size)
            return
        change.guard(bench.base, 2 * bench.size)
        assert said(change.tables, bench.base) == "guard"
        with pytest.raises(pw.AlreadyMapped, match="is guard"):
            change.install(bench.base, bench.first_frame, bench.size, "rwxu")
        change.unguard(bench.base, bench.size)
        assert [said(change.tables, bench.base + at * bench.size) for at in range(2)] == [None, "guard"]

    def test_others(self):
        bench = Workbench("x86-64")
        change = bench.change()
        change.mark(bench.base, bench.size, "uffd_wp")
        change.unmark(bench.base, bench.size, "guard")
        assert said(change.tables, bench.base) == "uffd_wp"
        change.unmark(bench.base, bench.size, "uffd_wp")
        assert said(change.tables, bench.base) is None
        with pytest.raises(pw.UnsupportedError, match="has no marker cheese"):
            change.mark(bench.base, bench.size, "cheese")


class TestFrames:
    def test_none_given(self):
        bench = Workbench("x86-64")
        with pytest.raises(pw.OutOfFrames, match="no memory was given for it"):
            pw.edit(bench.tables).guard(bench.base, bench.size)

    def test_too_few(self):
        """What fails leaves nothing: the frames that it took are there for the next."""
        bench = Workbench("x86-64")
        change = pw.edit(bench.tables, frames=[(4096, 4096 * 4)])
        change.guard(bench.base, bench.size)
        with pytest.raises(pw.OutOfFrames, match="in use"):
            change.guard(1 << 40, bench.size)
        assert len(change.plan().added) == 3
        assert said(change.tables, 1 << 40) is None

    def test_tables_of_an_earlier_change_are_passed_over(self):
        bench = Workbench("x86-64")
        for at in range(3):
            with bench.change() as change:
                change.install(bench.base + (at << 30), bench.first_frame, bench.size, "rw-u")
                change.commit()
        assert [said(bench.tables, bench.base + (at << 30)) for at in range(3)] == [(bench.first_frame, "rw-u")] * 3
        with pytest.raises(pw.OutOfFrames, match="is a page table of these already"):
            pw.edit(bench.tables, frames=[(4096, 8192)]).guard(1 << 40, bench.size)

    @pytest.mark.parametrize("frames", [[(0, 1)], [(4096, 4096)], [(8192, 4096)], [(0, 8192), (4096, 12288)]])
    def test_ranges_that_are_none(self, frames):
        with pytest.raises(ValueError, match=r"whole frames|overlap"):
            pw.edit(Workbench("x86-64").tables, frames=frames)

    def test_used_frames_are_refused_where_that_is_asked_for(self):
        bench = Workbench("x86-64")
        with bench.change() as change:
            change.install(bench.base, bench.first_frame, bench.size, "rw-u")
            change.commit()
        change = pw.edit(bench.tables, frames=bench.frames, free=True)
        with pytest.raises(pw.EditError, match=r"is in use: it is mapped in the row that begins at 0x"):
            change.install(bench.base + bench.size, bench.first_frame, bench.size, "rw-u")
        with pytest.raises(pw.EditError, match=r"is in use: a table of these page tables lies at 0x0"):
            change.install(bench.base + bench.size, 0, bench.size, "rw-u")
        change.install(bench.base + bench.size, bench.first_frame + bench.size, bench.size, "rw-u")
        with pytest.raises(pw.EditError, match="is in use"):
            pw.edit(bench.tables, frames=[(bench.first_frame, bench.first_frame + 4096)], free=True)


class TestWrong:
    @pytest.mark.parametrize(
        ("vaddr", "size"), [(0, 0), (1, 4096), (4096, 1), ((1 << 47) - 4096, 8192), (1 << 50, 4096), (4096, -4096)]
    )
    def test_ranges(self, vaddr, size):
        with pytest.raises(pw.WalkError, match="EINVAL"):
            Workbench("x86-64").change().unmap(vaddr, size)

    @pytest.mark.parametrize("what", [None, "tables", 5, pw.Ram(4096)])
    def test_what_is_no_page_tables(self, what):
        with pytest.raises(TypeError, match="page tables are needed"):
            pw.edit(what)

    def test_frames_that_are_too_far(self):
        bench = Workbench("riscv-sv32")
        with pytest.raises(ValueError, match="34 bits of physical address"):
            bench.change().install(bench.base, 1 << 34, bench.size, "rwxu")

    def test_page_sizes(self):
        bench = Workbench("x86-64")
        with pytest.raises(pw.UnsupportedError, match="no pages of 0x10000 bytes, but of 0x1000, 0x200000, 0x40000000"):
            bench.change().install(0, 0, 0x10000, "rw-u", page_size=0x10000)
        with pytest.raises(ValueError, match="is not aligned to them"):
            bench.change().install(0x1000, 0, 0x200000, "rw-u", page_size=0x200000)

    def test_a_remap_of_what_is_not_there(self):
        bench, change = mapped("x86-64")
        with pytest.raises(pw.EditError, match=r"not all of .* is mapped"):
            change.remap(bench.base + 3 * bench.size, bench.first_frame, 2 * bench.size)

    def test_merges_that_cannot_be(self):
        bench, change = mapped("x86-64")
        with pytest.raises(pw.EditError, match="is not whole pages of 0x200000 bytes"):
            change.merge(bench.base, bench.size)
        with pytest.raises(pw.EditError, match=r"does not go on|is none of a page"):
            change.merge(bench.base, 2 << 20)
        change.install(bench.base + 4 * bench.size, bench.first_frame, (2 << 20) - 4 * bench.size, "rwxu")
        with pytest.raises(pw.EditError, match=r"does not go on what the first|is not aligned"):
            change.merge(bench.base, 2 << 20)
        with pytest.raises(pw.EditError, match="no page in"):
            change.split(bench.base, bench.size)

    def test_a_root_that_is_garbage(self):
        bench = Workbench("x86-64")
        bench.data[0:8] = b"\xff" * 8
        with pytest.raises(pw.ReservedBits, match="sets reserved bits"):
            bench.change().guard(1 << 30, bench.size)
