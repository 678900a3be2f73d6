"""32-bit Linux by version: what each kernel means by raw entries (``asm/pgtable-2level.h``, ``pgtable-3level.h``)."""

from __future__ import annotations

import pytest

from pagewalk.formats import Flag, Kind, Linux, find_format
from pagewalk.formats.hardware.ia32 import ia32, pae
from pagewalk.formats.os.linux_ia32 import linux_ia32
from pagewalk.testing import check_format

VERSIONS = [(4, 4), (4, 14), (5, 10), (6, 1), (6, 6), (7, 3)]


def form_of(name, version):
    """A format with the rows of a kernel."""
    layer = linux_ia32(wide=name == "pae", linux=Linux(version))
    return pae(layer) if name == "pae" else ia32(layer)


@pytest.mark.parametrize("name", ["ia32", "pae"])
class TestVersions:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_promise_is_kept(self, name, version):
        check_format(form_of(name, version))

    def test_exclusive_came_with_6_3(self, name):
        """Before that, bit 7 of a swap entry means nothing."""
        for version in VERSIONS:
            last = form_of(name, version).last
            entry = last.swap(5, 0x123) | 0x80
            assert last.kind(entry) is Kind.SWAP
            assert last.swap_slot(entry) == (5, 0x123)
            assert bool(last.flags(entry) & Flag.EXCLUSIVE) is (version >= (6, 3))

    def test_saved_dirty_came_with_6_6(self, name):
        for version in VERSIONS:
            flags = form_of(name, version).last.flags(0x1425)
            assert bool(flags & Flag.SAVED_DIRTY) is (version >= (6, 6))

    def test_no_types_of_devices(self, name):
        """What stands below them moves up: broken pages are 27."""
        last = form_of(name, (7, 3)).last
        kinds = [last.kind(last.swap(type_, 0x55)) for type_ in range(26, 31)]
        assert kinds == [Kind.SWAP, Kind.HWPOISON, Kind.MIGRATION, Kind.MIGRATION, Kind.MIGRATION]


class TestBeforeL1tf:
    """4.17, pgtable-3level.h: the type in the low five bits of the upper half, the offset above them, as they are."""

    @pytest.mark.parametrize(("version", "there"), [((4, 14), True), ((4, 18), False)])
    def test_swap(self, version, there):
        last = form_of("pae", version).last
        assert (last.swap_slot(0x0002_4685 << 32) == (5, 0x1234)) is there

    @pytest.mark.parametrize(("version", "frame"), [((4, 14), 0x1000), ((4, 18), 0xF_FFFF_FFFF_E000)])
    def test_frames_without_rights(self, version, frame):
        last = form_of("pae", version).last
        assert (last.kind(0x1100), last.frame(0x1100)) == (Kind.PROT_NONE, frame)

    @pytest.mark.parametrize(("os", "there"), [("linux-4.14,l1tf=yes", False), ("linux-4.18,l1tf=no", True)])
    def test_as_it_is_said(self, os, there):
        """Older kernels got the fix as an update, 4.18 with its first."""
        last = find_format("pae", os).last
        assert (last.swap_slot(0x0002_4685 << 32) == (5, 0x1234)) is there
        assert (last.frame(0x1100) == 0x1000) is there
        assert find_format("ia32", os).last.frame(0x1100) == 0x1000

    @pytest.mark.parametrize(("version", "kind"), [((4, 4), Kind.SWAP), ((4, 14), Kind.NONE)])
    def test_stray_bits(self, version, kind):
        """The Xeon Phi's erratum is looked after since 4.8."""
        assert form_of("pae", version).last.kind(0x60) is kind

    @pytest.mark.parametrize("version", VERSIONS)
    def test_two_levels_never_changed(self, version):
        last = form_of("ia32", version).last
        assert last.swap_slot(0x0246_8A0A) == (5, 0x12345)
        assert (last.kind(0x1100), last.frame(0x1100)) == (Kind.PROT_NONE, 0x1000)
        assert last.kind(0x40) is Kind.SWAP


class TestFiles:
    """3.10, pgtable-2level.h and pgtable-3level.h: _PAGE_FILE, of pages that ``remap_file_pages`` put out of order."""

    @pytest.mark.parametrize("name", ["ia32", "pae"])
    @pytest.mark.parametrize(("os", "there"), [("linux-3.10", True), ("linux-3.19", True), ("linux-4.0", False)])
    def test_they_ended_with_4_0(self, name, os, there):
        form = find_format(name, os)
        found = form.last.decode(0x1240)
        assert (found.kind, found.row.name) == ((Kind.OTHER, "file") if there else (Kind.SWAP, "swap"))
        assert form.last.kind(0x1340) is Kind.PROT_NONE
        assert form.levels[3].decode(0x1240).row.name != "file"


class TestHugePages:
    def test_pse_alone_is_a_page_that_is_being_split(self):
        """``pmd_present``: transparent huge pages are there with PAE and without, as a guest with 6.1 shows."""
        wide, narrow = (form_of(name, (7, 3)).levels[3] for name in ("pae", "ia32"))
        assert wide.decode(0xF_FFFF_FFC0_00E0).row.name == "splitting"
        assert wide.frame(0xF_FFFF_FFC0_00E0) == 0x20_0000
        assert narrow.decode(0x0040_00E0).row.name == "splitting"
        assert narrow.frame(0x0040_00E0) == 0x40_0000
