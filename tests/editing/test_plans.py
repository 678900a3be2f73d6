"""Plans: what they say of words, tables and invalidations, by each architecture's rules; as text and as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.editing.flushes import Flush
from pagewalk.formats import FORMATS, from_registers
from pagewalk.memory import Segment
from tests.editing.bench import Workbench

LARGE = 2 << 20


def prepared(name: str) -> tuple[Workbench, int]:
    """Tables with four pages, and the size of a page."""
    bench = Workbench(name)
    with bench.change() as change:
        change.install(bench.base, bench.first_frame, 4 * bench.size, "rwxu")
        change.commit()
    return bench, bench.size


class TestInvalidations:
    """Which translations must be forgotten."""

    @pytest.mark.parametrize("name", FORMATS)
    def test_none_where_nothing_was(self, name):
        bench, size = prepared(name)
        change = bench.change()
        change.install(bench.base + 4 * size, bench.first_frame, size, "rwxu")
        flushes = change.plan().flushes
        if name.startswith("riscv"):
            assert flushes == (Flush(bench.base + 4 * size, size, size, absent=True),), "a hart may keep what is absent"
        else:
            assert flushes == ()

    @pytest.mark.parametrize("name", FORMATS)
    def test_of_pages_that_are_taken_away(self, name):
        bench, size = prepared(name)
        change = bench.change()
        change.unmap(bench.base + size, 2 * size)
        assert change.plan().flushes == (Flush(bench.base + size, 2 * size, size),)

    @pytest.mark.parametrize("name", FORMATS)
    def test_of_rights_that_change(self, name):
        bench, size = prepared(name)
        change = bench.change()
        change.protect(bench.base, size, "r-xu")
        (flush,) = change.plan().flushes
        assert (flush.vaddr, flush.size, flush.tables, flush.breaks) == (bench.base, size, False, False)

    @pytest.mark.parametrize("name", FORMATS)
    def test_of_frames_that_change(self, name):
        """arm64 must break before it makes."""
        bench, size = prepared(name)
        change = bench.change()
        change.remap(bench.base, bench.first_frame + 64 * size, size)
        (flush,) = change.plan().flushes
        assert flush.breaks == name.startswith("arm64")

    def test_of_tables_that_are_unlinked(self):
        bench, size = prepared("x86-64")
        change = bench.change()
        change.unmap(bench.base, 4 * size, free_tables=True)
        plan = change.plan()
        assert [table.level for table in plan.freed] == ["PDPT", "PD", "PT"]
        assert {(flush.vaddr, flush.tables) for flush in plan.flushes} >= {(0, True), (bench.base, False)}

    def test_of_bits_that_no_hardware_looks_at(self):
        bench, size = prepared("x86-64")
        change = bench.change()
        change.set_software(bench.base, size, 1 << 52, 1 << 52)
        plan = change.plan()
        assert len(plan) == 1
        assert plan.flushes == ()

    def test_of_a_split(self):
        bench = Workbench("arm64-4k")
        with bench.change() as change:
            change.install(LARGE, LARGE, LARGE, "rw-u", page_size=LARGE)
            change.commit()
        change = bench.change()
        change.split(LARGE, LARGE)
        (flush,) = change.plan().flushes
        assert flush == Flush(LARGE, LARGE, LARGE, breaks=True)

    def test_what_a_table_withheld_and_gives_now_is_not_asked(self):
        """The words of new tables need none: no CPU has seen them."""
        bench = Workbench("riscv-sv39")
        change = bench.change()
        change.install(bench.base, bench.first_frame, 512 * bench.size, "rw-u")
        assert [flush.absent for flush in change.plan().flushes] == [True]


class TestWords:
    """Every word, with what it is the entry of."""

    def test_they_are_what_differs(self):
        bench, size = prepared("x86-64")
        change = bench.change()
        change.protect(bench.base + size, 2 * size, "r--u")
        words = change.plan().words
        assert words["vaddr"].tolist() == [bench.base + size, bench.base + 2 * size]
        assert (words["size"] == size).all()
        assert (words["depth"] == 4).all()
        assert not words["fresh"].any()
        assert (np.bitwise_xor(words["old"], words["new"]) == (1 << 63 | 2)).sum() in (0, 2)

    def test_new_tables_come_first(self):
        bench = Workbench("x86-64")
        change = bench.change()
        change.install(bench.base, bench.first_frame, bench.size, "rw-u")
        plan = change.plan()
        assert [table.level for table in plan.added] == ["PDPT", "PD", "PT"]
        *_, last = [paddr for paddr, _, _ in plan.runs()]
        assert last == 0, "the root is written when all that it leads to is there"

    def test_nothing(self):
        bench, _ = prepared("x86-64")
        plan = bench.change().plan()
        assert (len(plan), str(plan), plan.flushes) == (0, "nothing changes", ())
        assert list(plan.runs()) == []


class TestShown:
    """Text and JSON."""

    def test_text(self):
        bench, size = prepared("arm64-4k")
        change = bench.change()
        change.remap(bench.base, bench.first_frame + 64 * size, size)
        lines = str(change.plan()).splitlines()
        assert lines[0] == "words that change: 1; tables added: 0; tables freed: 0"
        assert f"[{bench.base:#x}, {bench.base + size:#x})" in lines[1]
        assert lines[2].startswith("invalidate, one CPU tells all (Arm ARM")
        assert "write the entries empty; DSB ISHST; TLBI VAAE1IS for" in lines[3]
        assert lines[3].endswith("DSB ISH; ISB; write the new ones")

    def test_long_plans_are_cut(self):
        bench, _ = prepared("x86-64")
        change = bench.change()
        change.install(bench.base + (1 << 20), bench.first_frame, 200 * bench.size, "rw-u")
        text = str(change.plan())
        assert "... and 160 more: JSON has all" in text
        assert len(text.splitlines()) < 50

    def test_garbage_in_new_tables_is_counted(self):
        bench = Workbench("x86-64")
        change = bench.change()
        change.guard(bench.base, bench.size)
        assert "words of new tables become empty" in str(change.plan())

    def test_json(self):
        bench, size = prepared("riscv-sv39")
        change = bench.change()
        change.protect(bench.base, size, "r-xu")
        found = json.loads(json.dumps(change.plan().json()))
        (word,) = found["words"]
        assert word["vaddr"] == f"{bench.base:#x}"
        assert (word["size"], word["depth"], word["level"]) == (size, 4, "level 0")
        assert word["was"].startswith("present")
        assert "rwxu" in word["was"]
        assert "r-xu" in word["is"]
        assert found["flushes"][0]["vaddr"] == f"{bench.base:#x}"
        assert found["invalidation"]["page"] == "SFENCE.VMA vaddr"
        assert found["added"] == found["freed"] == []

    def test_asids_are_named(self):
        bench, size = prepared("x86-64")
        windows = [window._replace(asid=7) for window in bench.tables.windows]
        tables = pw.PageTables(bench.memory, None, bench.form, windows=windows)
        change = pw.edit(tables)
        change.unmap(bench.base, size)
        assert "ASID 0x7" in str(change.plan())

    def test_pae_reads_its_root_when_cr3_is_written(self):
        bench = Workbench("pae")
        change = bench.change()
        change.install(3 << 30, bench.first_frame, bench.size, "rw-u")
        assert "MOV CR3: an entry of the top table changes" in str(change.plan())


class TestAsids:
    """The number under which CPUs keep translations, from the registers."""

    @pytest.mark.parametrize(
        ("registers", "asid"),
        [
            ("cr3=0x1003,cr4=0x20020,efer=0xd01", 3),
            ("cr3=0x1003,cr4=0x20,efer=0xd01", None),
            ("ttbr0_el1=0x5000000001000,ttbr1_el1=0x7000000002000,tcr_el1=0x1080100010", 5),
            ("ttbr0_el1=0x5000000001000,ttbr1_el1=0x7000000002000,tcr_el1=0x1080500010", 7),
            ("satp=0x8000900000000001", 9),
            ("satp=0x82400001", 9),
        ],
    )
    def test_it(self, registers, asid):
        assert {window.asid for window in from_registers(registers).windows} == {asid}


class TestShared:
    """Tables that several entries lead to."""

    def test_everything_is_forgotten(self):
        bench, size = prepared("x86-64")
        with bench.change() as change:
            change.install(1 << 40, bench.first_frame, size, "rw-u")
            change.commit()
        entry, other = (
            next(one for one in bench.tables.steps(vaddr) if one.level.depth == 3) for vaddr in (bench.base, 1 << 40)
        )
        other.value = entry.value
        change = bench.change()
        change.protect(bench.base, size, "r--u")
        plan = change.plan()
        assert plan.shared == (entry.target,)
        assert "MOV CR4 (PGE off and on) instead: shared tables at" in str(plan)
        assert plan.json()["shared"] == [f"{entry.target:#x}"]

    def test_none_are(self):
        bench, size = prepared("x86-64")
        change = bench.change()
        change.protect(bench.base, size, "r--u")
        assert change.plan().shared == ()

    def test_a_table_that_is_linked_elsewhere_is_not_freed(self):
        bench, size = prepared("x86-64")
        with bench.change() as change:
            change.install(1 << 40, bench.first_frame, size, "rw-u")
            change.commit()
        entry, other = (
            next(one for one in bench.tables.steps(vaddr) if one.level.depth == 3) for vaddr in (bench.base, 1 << 40)
        )
        other.value = entry.value
        change = bench.change()
        change.unmap(bench.base, 4 * size, free_tables=True)
        freed = {table.paddr for table in change.plan().freed}
        assert freed
        assert entry.target not in freed

    def test_two_windows_of_one_root(self):
        """arm64 with both roots alike: what changes in one half changes in the other."""
        bench, size = prepared("arm64-4k")
        change = pw.edit(pw.PageTables(bench.memory, 0, bench.form))
        change.unmap(bench.base, size)
        assert 0 in change.plan().shared

    def test_tables_that_lead_to_themselves(self):
        """A recursive slot, and a shadow that is one table all over, take no longer than others."""
        bench, size = prepared("x86-64")
        for at in range(256, 512):
            bench.data[at * 8 : at * 8 + 8] = (0x67).to_bytes(8, "little")
        tables = pw.PageTables(bench.memory, 0, bench.form)
        change = pw.edit(tables, frames=bench.frames)
        change.install(bench.base + 4 * size, bench.first_frame, size, "rw-u")
        assert 0 in change.plan().shared


class TestTwin:
    """Two roots: what changes in the slots of the user's half changes in both."""

    NX = 1 << 63

    def build(self) -> tuple[pw.FlatMemory, pw.PageTables, bytearray]:
        data = bytearray(64 * 4096)
        memory = pw.FlatMemory([Segment(0, memoryview(data))])
        tables = pw.PageTables(memory, 0x2000, "x86-64")
        with pw.edit(tables, frames=[(0x8000, 0x1C000)]) as change:
            change.install(0x400000, 0x20000, 0x1000, "rw-u")
            change.install(0xFFFF_8000_0000_0000, 0x30000, 0x1000, "rw--")
            change.commit()
        link = int.from_bytes(data[0x2000:0x2008], "little")
        data[0x3000:0x3008] = link.to_bytes(8, "little")
        data[0x2000:0x2008] = (link | self.NX).to_bytes(8, "little")
        return memory, tables, data

    @pytest.mark.parametrize("root", [0x2000, 0x3000])
    def test_a_new_slot_is_in_both(self, root):
        memory, _, data = self.build()
        change = pw.edit(pw.PageTables(memory, root, "x86-64"), frames=[(0x8000, 0x1C000)])
        change.install(1 << 40, 0x21000, 0x1000, "rw-u")
        plan = change.plan()
        assert plan.twin == root ^ 0x1000
        assert f"of both roots, {root:#x} and {root ^ 0x1000:#x}" in str(plan) or not plan.flushes
        change.commit()
        slot = (1 << 40 >> 39) * 8
        kernel, user = (int.from_bytes(data[at + slot : at + slot + 8], "little") for at in (0x2000, 0x3000))
        assert kernel == user | self.NX
        assert user & ~self.NX

    @pytest.mark.parametrize("root", [0x2000, 0x3000])
    def test_what_the_user_may_execute_is_not_for_the_kernels_root_to_withhold(self, root):
        memory, _, _ = self.build()
        change = pw.edit(pw.PageTables(memory, root, "x86-64"), frames=[(0x8000, 0x1C000)])
        change.install(1 << 40, 0x21000, 0x1000, "r-xu")
        change.protect(0x400000, 0x1000, "r-xu")
        change.commit()
        user = pw.PageTables(memory, 0x3000, "x86-64")
        assert pw.Flag.EXEC in user.translate(1 << 40).flags & user.translate(0x400000).flags

    def test_the_kernels_half_is_not(self):
        _memory, tables, data = self.build()
        change = pw.edit(tables, frames=[(0x8000, 0x1C000)])
        change.install(0xFFFF_9000_0000_0000, 0x22000, 0x1000, "rw--")
        before = bytes(data[0x3000:0x4000])
        change.commit()
        assert bytes(data[0x3000:0x4000]) == before

    def test_a_page_behind_that_is_none(self):
        _memory, tables, data = self.build()
        data[0x3000:0x3008] = bytes(8)
        assert pw.edit(tables).plan().twin == 0
