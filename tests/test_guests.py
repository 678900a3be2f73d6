"""Oracles and pagewalk against real guests: every page that a guest's own kernel spoke of, by the registers alone.

A pagemap entry: bit 63 present, 62 swap, 58 guard, 57 write-protected by userfaultfd, 54:0 the PFN or type and offset
(the kernel's ``Documentation/admin-guide/mm/pagemap.rst``). A kpageflags entry: bit 17 hugetlb, 22 THP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pagewalk
from pagewalk.formats import Kind
from tests.guests import FORMATS, Guest, unpack

if TYPE_CHECKING:
    from tests.reference.found import Found, Walker

PRESENT, SWAP, GUARD, UFFD_WP, HUGETLB = 1 << 63, 1 << 62, 1 << 58, 1 << 57, 1 << 17
PAYLOAD = (1 << 55) - 1
KEY = 0x7061_6765_776C_6B00


@pytest.fixture(scope="module", params=FORMATS)
def guest(request, tmp_path_factory) -> Guest:
    return unpack(request.param, tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="module")
def user(guest) -> Walker:
    """The walker of the user's window."""
    return guest.windows[0][2]


@pytest.fixture(scope="module")
def found(guest, user) -> dict[int, Found]:
    """What each page of each VMA is."""
    return {vaddr: user.look(vaddr) for vaddr in guest.pagemap}


def meaning(guest: Guest, user: Walker, one: Found):
    """The entry in Linux's words."""
    shift = one.size.bit_length() - 1
    return guest.family.linux.meaning(user, shift, one.entry)


class TestEveryPage:
    def test_there_are_enough(self, guest):
        assert sum(1 for entry in guest.pagemap.values() if entry & PRESENT) > 500

    def test_present(self, guest, user, found):
        """In its frame; without rights where the VMA has none."""
        for vaddr, entry in guest.pagemap.items():
            if not entry & PRESENT:
                continue
            one = found[vaddr]
            kind = "prot_none" if guest.rights[vaddr].startswith("---") else "present"
            said = meaning(guest, user, one)
            frame = one.paddr if kind == "present" else said.frame
            assert one.what == ("leaf" if kind == "present" else "absent"), hex(vaddr)
            assert (said.kind, frame + vaddr - one.vaddr) == (kind, (entry & PAYLOAD) << 12), hex(vaddr)

    def test_rights_are_the_vmas(self, guest, found):
        """A page may lack what its VMA allows (copy on write), never the other way round."""
        for vaddr, one in found.items():
            if one.what == "leaf":
                vma, rights = guest.rights[vaddr], one.rights
                assert rights.user_read == (vma[0] == "r"), hex(vaddr)
                assert rights.user_execute == (vma[2] == "x"), hex(vaddr)
                assert vma[1] == "w" or not rights.user_write, hex(vaddr)

    def test_not_present(self, guest, user, found):
        """Guards, markers, poisoned pages and swap entries, as pagemap shows them; and nothing."""
        for vaddr, entry in guest.pagemap.items():
            if entry & PRESENT:
                continue
            one = found[vaddr]
            assert one.what == ("absent" if entry & SWAP else "hole"), hex(vaddr)
            said = meaning(guest, user, one)
            type_, offset = entry & 31, (entry & PAYLOAD) >> 5
            if not entry & SWAP:
                assert said.kind == "none", hex(vaddr)
            elif entry & GUARD:
                assert (said.kind, type_, offset) == ("guard", 31, 4), hex(vaddr)
            elif type_ == 31:
                assert (said.kind, offset, bool(entry & UFFD_WP)) == ("uffd_wp", 1, True), hex(vaddr)
            elif type_ == 24:
                assert (said.kind, said.frame) == ("hwpoison", offset << 12), hex(vaddr)
            else:
                assert (said.kind, said.swap) == ("swap", (type_, offset)), hex(vaddr)

    def test_write_protection(self, guest, user, found):
        for vaddr, entry in guest.pagemap.items():
            if entry & PRESENT:
                assert ("UFFD_WP" in meaning(guest, user, found[vaddr]).flags) == bool(entry & UFFD_WP), hex(vaddr)

    def test_huge(self, guest, found):
        """What kpageflags calls hugetlb is one: a block, or a group of 64 KiB."""
        huge = {int(vaddr) for vaddr, flags in guest.truth["kpf"].items() if flags & HUGETLB}
        assert huge
        for vaddr in huge:
            one = found[vaddr]
            assert one.size << one.order == (2 << 20 if vaddr in guest.region("hugetlb") else 64 << 10), hex(vaddr)

    def test_contents(self, guest, found):
        filled = {vaddr for vaddr in guest.truth["fills"] if found[vaddr].what == "leaf"}
        assert len(filled) > 30
        for vaddr in filled:
            one = found[vaddr]
            for at in range(vaddr, vaddr + 4096, 8):
                assert guest.word(one.paddr + at - one.vaddr) == at ^ KEY, hex(at)


class TestWindows:
    def test_nothing_outside_the_vmas(self, guest):
        start, end, walker = guest.windows[0]
        pages = {
            vaddr
            for one in walker.everything(start, end)
            if one.what in ("leaf", "absent")
            for vaddr in range(one.vaddr, one.vaddr + one.size, 4096)
        }
        assert pages <= set(guest.pagemap)

    def test_every_window_is_sound(self, guest):
        """The kernel's own half as well: pages, and nothing reserved."""
        for start, end, walker in guest.windows:
            seen = {one.what for one in walker.everything(start, end)}
            assert "leaf" in seen
            assert seen <= {"leaf", "absent", "hole"}

    def test_the_kernel_keeps_its_half_to_itself(self, guest):
        start, end, walker = guest.windows[1]
        rights = {one.rights for one in walker.everything(start, end) if one.what == "leaf"}
        assert not any(one.user_read or one.user_write for one in rights)
        assert any(one.kernel_execute for one in rights)


@pytest.fixture(scope="module")
def opened(guest):
    """The guest's tables, by its registers alone."""
    names = {"ttbr0": "ttbr0_el1", "ttbr1": "ttbr1_el1", "tcr": "tcr_el1"}
    known = ("cr0", "cr3", "cr4", "efer", "satp", *names)
    registers = {names.get(name, name): guest.truth[name] for name in known if name in guest.truth}
    return pagewalk.open(guest.path, registers=registers, base=guest.truth["ram_base"])


class TestPagewalk:
    """The same from pagewalk, every page of the truth file and every window."""

    def test_windows(self, guest, opened):
        assert [(start, end, walker.root) for start, end, walker in guest.windows] == [
            (window.start, window.end, window.root) for window in opened.windows
        ]

    def test_every_present_page_is_in_its_frame(self, guest, opened):
        present = {vaddr: (entry & PAYLOAD) << 12 for vaddr, entry in guest.pagemap.items() if entry & PRESENT}
        paddrs, mapped = pagewalk.translate(opened, list(guest.pagemap))
        pages = zip(guest.pagemap, paddrs.tolist(), mapped.tolist(), strict=True)
        there = {vaddr: paddr for vaddr, paddr, is_mapped in pages if is_mapped}
        assert there == present

    def test_every_entry_of_every_window(self, guest, opened):
        for start, end, walker in guest.windows:
            wanted = [
                (one.vaddr, one.size, one.entry, meaning(guest, walker, one).kind)
                for one in walker.everything(start, end)
                if one.what in ("leaf", "absent")
            ]
            rows = pagewalk.mappings(opened, start, end, coalesce=False)
            found = [
                (vaddr, size, entry, Kind(kind).label)
                for vaddr, size, entry, kind in rows[["vaddr", "size", "entry", "kind"]].tolist()
            ]
            assert found == wanted
