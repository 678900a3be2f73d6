"""A Linux 7.3 guest's tables, against what its own kernel said, and against another MMU.

A pagemap entry: bit 63 present, 62 swap, 58 guard, 57 write-protected by userfaultfd, 0-54 the PFN (from the kernel's
``Documentation/admin-guide/mm/pagemap.rst``).
"""

import ctypes

import numpy as np
import pytest

from pagewalk.errors import NotPresent
from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.query import holes, mappings, translate
from tests.conftest import skip_or_fail

PRESENT, SWAP, GUARD, UFFD_WP = 1 << 63, 1 << 62, 1 << 58, 1 << 57
PFN = (1 << 55) - 1
PAGE, HUGE = 4096, 2 << 20
LOW_END = 1 << 47
KEY = 0x7061_6765_776C_6B00
EFER = 0xC000_0080
SMEP_SMAP = 3 << 20  # Unicorn looks with the kernel's rights: let it at the user's pages
READ, WRITE, EXEC = 1, 2, 4  # UC_PROT_*


@pytest.fixture(scope="module")
def tables(guest):
    return guest.tables()


@pytest.fixture(scope="module")
def present(guest):
    """The pages that pagemap calls present, and their frames."""
    return {vaddr: (entry & PFN) * PAGE for vaddr, entry in guest.pagemap.items() if entry & PRESENT}


@pytest.fixture(scope="module")
def rows(tables):
    """One row a page of 4 KiB, whatever its size: the lower half."""
    return by_page(mappings(tables, 0, LOW_END, coalesce=False))


def by_page(rows):
    """``{vaddr: (paddr, page size, flags, kind, entry)}``."""
    return {
        vaddr + at: (paddr if paddr == NO_PADDR else paddr + at, page_size, Flag(flags), Kind(kind), entry)
        for vaddr, paddr, size, page_size, flags, kind, entry in rows.tolist()
        for at in range(0, size, PAGE)
    }


def kinds(rows, pages):
    """The kind of each page; NONE where there is no row."""
    return {vaddr: rows[vaddr][3] if vaddr in rows else Kind.NONE for vaddr in pages}


class TestEveryPresentPage:
    """Every page the guest's pagemap calls present translates to its PFN."""

    def test_the_guest_has_enough_of_them(self, present):
        assert len(present) > 1000

    def test_scalar(self, tables, present):
        assert {vaddr: tables.translate(vaddr + 5).paddr for vaddr in present} == {
            vaddr: paddr + 5 for vaddr, paddr in present.items()
        }

    def test_vectorised(self, tables, present):
        paddrs, mapped = translate(tables, [vaddr + 5 for vaddr in present])
        assert mapped.all()
        assert paddrs.tolist() == [paddr + 5 for paddr in present.values()]

    def test_mappings(self, rows, present):
        assert {vaddr: rows[vaddr][0] for vaddr in present} == present

    def test_runs(self, tables, present):
        runs = mappings(tables, 0, LOW_END)
        at = np.searchsorted(runs["vaddr"], np.array(list(present), np.uint64), side="right") - 1
        steps = np.array(list(present), np.uint64) - runs["vaddr"][at]
        found = runs["paddr"][at] + np.where(runs["flags"][at] & int(Flag.REPEATED), 0, steps)
        assert found.tolist() == list(present.values())


class TestNothingElse:
    """Nothing else is mapped inside the VMAs."""

    def test_translate_agrees_on_all_pages_of_all_vmas(self, guest, tables, present):
        pages = list(guest.pagemap)
        paddrs, mapped = translate(tables, pages)
        assert {vaddr for vaddr, there in zip(pages, mapped.tolist(), strict=True) if there} == set(present)
        assert (paddrs[~mapped] == NO_PADDR).all()

    def test_scalar_raises_for_the_rest(self, guest, tables, present):
        rest = [vaddr for vaddr in guest.pagemap if vaddr not in present]
        assert len(rest) > 1000
        for vaddr in rest:
            with pytest.raises(NotPresent):
                tables.translate(vaddr)

    def test_mappings_show_what_pagemap_shows(self, guest, rows, present):
        pages = {vaddr for vaddr, entry in guest.pagemap.items() if entry & (PRESENT | SWAP)}
        assert {vaddr for vaddr in rows if vaddr in guest.pagemap} == pages

    def test_nothing_outside_the_vmas(self, guest, rows):
        assert set(rows) <= set(guest.pagemap)

    def test_mappings_and_holes_tile_both_halves(self, tables):
        for low, high in ((window.start, window.end) for window in tables.windows):
            parts = [mappings(tables, low, high), holes(tables, low, high)]
            spans = sorted((row["vaddr"].item(), row["size"].item()) for part in parts for row in part)
            at = low
            for vaddr, size in spans:
                assert vaddr == at
                at += size
            assert at == high


class TestKinds:
    """Guard, uffd-wp, swap, hwpoison and PROT_NONE entries are named as such."""

    def test_guards_everywhere(self, guest, rows):
        marked = {vaddr for vaddr, entry in guest.pagemap.items() if entry & GUARD}
        assert len(marked) == 9
        assert {vaddr for vaddr, row in rows.items() if row[3] is Kind.GUARD} == marked

    @pytest.mark.parametrize(
        ("region", "pages"), [("guard", {4, 5, 6, 7, 14}), ("guard_empty", {515, 516}), ("file_guard", {2, 3})]
    )
    def test_guards_where_they_were_put(self, guest, rows, region, pages):
        where = guest.region(region)
        found = kinds(rows, where)
        assert {at for at, vaddr in enumerate(where) if found[vaddr] is Kind.GUARD} == pages

    def test_guards_as_the_guest_scanned_them(self, guest, rows):
        scanned = {
            at for start, end, categories in guest.truth["scan"] if categories & 0x100 for at in range(start, end, PAGE)
        }
        assert scanned == {vaddr for vaddr, row in rows.items() if row[3] is Kind.GUARD}

    def test_uffd_wp(self, guest, rows):
        where = list(guest.region("uffd_wp"))
        assert [kinds(rows, where)[vaddr] for vaddr in where] == (
            [Kind.PRESENT] * 4 + [Kind.UFFD_WP] * 2 + [Kind.NONE] * 2
        )
        protected = [Flag.UFFD_WP in rows[vaddr][2] for vaddr in where[:4]]
        assert protected == [False, False, True, True]
        assert [bool(guest.pagemap[vaddr] & UFFD_WP) for vaddr in where] == [at in (2, 3, 4, 5) for at in range(8)]

    def test_swap(self, guest, tables, rows):
        where = list(guest.region("swapped"))
        found = kinds(rows, where)
        assert [found[vaddr] for vaddr in where] == [Kind.PRESENT] * 2 + [Kind.SWAP] * 4 + [Kind.PRESENT] * 2
        for vaddr in where[2:6]:  # bits 0-4 the type, 5-54 the offset
            type_, offset = tables.format.last.swap_slot(rows[vaddr][4])
            assert guest.pagemap[vaddr] & PFN == type_ | offset << 5

    def test_hwpoison(self, guest, rows):
        where = list(guest.region("hwpoison"))
        found = kinds(rows, where)
        assert [found[vaddr] for vaddr in where] == [Kind.PRESENT, Kind.HWPOISON, Kind.PRESENT, Kind.PRESENT]
        assert rows[where[1]][0] % PAGE == 0
        assert rows[where[1]][0] < guest.truth["mem_mb"] << 20

    def test_prot_none(self, guest, tables, rows):
        where = list(guest.region("prot_none_touched"))
        found = kinds(rows, where)
        assert [found[vaddr] for vaddr in where] == [Kind.PROT_NONE] * 6 + [Kind.NONE] * 2
        assert not any(rows[vaddr][2] & Flag.rights() for vaddr in where[:6])
        assert translate(tables, where)[1].tolist() == [True] * 6 + [False] * 2
        assert not translate(tables, where, hardware=True)[1].any()
        assert not len(mappings(tables, where[0], where[-1] + PAGE, hardware=True))

    def test_no_kind_appears_uncalled_for(self, rows):
        assert {row[3] for row in rows.values()} == {
            Kind.PRESENT, Kind.PROT_NONE, Kind.SWAP, Kind.GUARD, Kind.UFFD_WP, Kind.HWPOISON
        }  # fmt: skip

    def test_zero_page_is_special(self, guest, rows):
        where = list(guest.region("zeropage"))[:4]
        assert len({rows[vaddr][0] for vaddr in where}) == 1
        assert all(Flag.SPECIAL in rows[vaddr][2] for vaddr in where)

    def test_rights(self, guest, rows):
        where = list(guest.region("ro_rx"))
        read, run = Flag.READ | Flag.USER, Flag.READ | Flag.EXEC | Flag.USER
        assert [rows[vaddr][2] & Flag.rights() for vaddr in where] == [read] * 4 + [run] * 4


class TestHugePages:
    """THP and hugetlb are seen as 2 MiB pages, and nothing else is."""

    def test_thp(self, guest, rows):
        where = list(guest.region("thp"))
        assert {rows[vaddr][1] for vaddr in where[:512]} == {HUGE}
        assert rows[where[512]][1] == PAGE  # the second one was split by an mprotect

    def test_hugetlb(self, guest, rows):
        assert {rows[vaddr][1] for vaddr in guest.region("hugetlb")} == {HUGE}

    def test_as_many_as_smaps_says(self, guest, rows):
        kib = sum(
            int(line.split()[1])
            for line in guest.truth["smaps"]
            if line.startswith(
                ("AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:", "Private_Hugetlb:", "Shared_Hugetlb:")
            )
        )
        assert kib == 4096
        assert sum(PAGE for row in rows.values() if row[1] == HUGE) == kib << 10

    def test_as_the_guest_scanned_them(self, guest, rows):
        scanned = {
            at for start, end, categories in guest.truth["scan"] if categories & 0x40 for at in range(start, end, PAGE)
        }
        assert scanned == {vaddr for vaddr, row in rows.items() if row[1] == HUGE}


class TestContents:
    """The pages in ``fills`` hold their words."""

    def test_every_word(self, guest, tables):
        filled = sorted(set(guest.truth["fills"]))
        checked = 0
        for vaddr in filled:
            try:
                page = np.frombuffer(tables.read(vaddr, PAGE), "<u8")
            except NotPresent:
                continue
            assert (page == (np.arange(vaddr, vaddr + PAGE, 8, dtype=np.uint64) ^ np.uint64(KEY))).all(), hex(vaddr)
            checked += 1
        gone = [vaddr for vaddr in filled if not guest.pagemap[vaddr] & PRESENT]
        assert checked == len(filled) - len(gone)
        assert checked > 50


@pytest.fixture(scope="module")
def mmu(guest):
    """``(vaddr, access) -> paddr``, None where its MMU faults."""
    try:
        import unicorn
        from unicorn.unicorn_py3.unicorn import uclib
        from unicorn.x86_const import UC_X86_REG_CR0, UC_X86_REG_CR3, UC_X86_REG_CR4
    except ImportError as error:
        skip_or_fail(f"no Unicorn: {error}")
    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    machine.ctl_set_tlb_mode(unicorn.UC_TLB_CPU)  # the CPU's own page walk, not the emulator's flat map
    ram = guest.path.read_bytes()
    machine.mem_map(0, len(ram))
    machine.mem_write(0, ram)
    machine.msr_write(EFER, guest.truth["efer"])
    machine.reg_write(UC_X86_REG_CR4, guest.truth["cr4"] & (1 << 64) - 1 - SMEP_SMAP)
    machine.reg_write(UC_X86_REG_CR3, guest.truth["cr3"])
    machine.reg_write(UC_X86_REG_CR0, guest.truth["cr0"])

    def look(vaddr, access):
        paddr = ctypes.c_uint64(NO_PADDR)
        handle = machine._uch
        error = uclib.uc_vmem_translate(handle, ctypes.c_uint64(vaddr), ctypes.c_uint32(access), ctypes.byref(paddr))
        return None if error else paddr.value

    return look


class TestAnotherMMU:
    """Unicorn, given the guest's RAM and its control registers, goes to the same frames."""

    def test_every_page_of_every_vma(self, guest, tables, mmu):
        pages = list(guest.pagemap)
        paddrs, mapped = translate(tables, pages, hardware=True)
        ours = [at if there else None for at, there in zip(paddrs.tolist(), mapped.tolist(), strict=True)]
        assert [mmu(vaddr, READ) for vaddr in pages] == ours
        assert mapped.sum() > 1000
        assert (~mapped).sum() > 1000

    def test_rights_of_every_page(self, guest, tables, mmu):
        for access, flag in ((WRITE, Flag.WRITE), (EXEC, Flag.EXEC)):
            pages = list(mappings(tables, 0, LOW_END, coalesce=False, hardware=True))
            ours = {row["vaddr"].item(): bool(row["flags"] & flag) for row in pages}
            assert {vaddr: mmu(vaddr, access) is not None for vaddr in ours} == ours
            assert set(ours.values()) == {True, False}
