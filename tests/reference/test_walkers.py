"""The oracles against what the manuals say in words: roots, shapes, rights over several levels."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.reference import arm64, ia32, riscv
from tests.reference.arm64 import Arm64
from tests.reference.families import FAMILIES
from tests.reference.found import depths as depths_of
from tests.reference.riscv import RiscV


def memory(words: dict[int, int]):
    """A memory where everything else is zero."""
    return lambda paddr: words.get(paddr, 0)


def test_nothing_comes_from_what_it_judges():
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "pagewalk" for name in names), path


@pytest.mark.parametrize(
    ("name", "shifts", "depths", "root"),
    [
        ("x86-64", [39, 30, 21, 12], [0, 2, 3, 4], 512),
        ("x86-64-la57", [48, 39, 30, 21, 12], [0, 1, 2, 3, 4], 512),
        ("ia32", [22, 12], [0, 4], 1024),
        ("pae", [30, 21, 12], [0, 3, 4], 4),
        ("arm64-4k", [39, 30, 21, 12], [0, 2, 3, 4], 512),
        ("arm64-16k", [36, 25, 14], [0, 3, 4], 2048),
        ("arm64-4k-lpa2", [48, 39, 30, 21, 12], [0, 1, 2, 3, 4], 16),
        ("arm64-16k-lpa2", [47, 36, 25, 14], [0, 2, 3, 4], 32),
        ("riscv-sv39", [30, 21, 12], [0, 3, 4], 512),
        ("riscv-sv57", [48, 39, 30, 21, 12], [0, 1, 2, 3, 4], 512),
    ],
)
def test_shapes(name, shifts, depths, root):
    walker = FAMILIES[name].empty()
    assert walker.shifts() == shifts
    assert walker.entries(shifts[0]) == root
    assert depths_of(len(shifts)) == depths


class TestIa32Registers:
    """Tables 5-3 and 5-7: what of CR3 is the root, by CR4.PAE; CR4.PSE says what bit 7 of a PDE means."""

    def test_two_levels(self):
        words = {0x2D7_E000: 0x0100_00E7, 0x0100_0000: 0x5067}
        large = ia32.from_registers(memory(words), 0x2D7_E018, 0x6D0).look(0x3000)
        small = ia32.from_registers(memory(words), 0x2D7_E018, 0x6C0).look(0)
        assert (large.what, large.size, large.paddr) == ("leaf", 1 << 22, 0x100_0000)
        assert (small.what, small.size, small.paddr) == ("leaf", 4096, 0x5000)

    def test_pae(self):
        """The last of four entries at an address that is a multiple of 32."""
        words = {0x1CF_2038: 0x5001, 0x5000: 0x8000_0000_0020_00E7}
        found = ia32.from_registers(memory(words), 0x1CF_2038, 0x6F0).look(0xC000_1000)
        assert (found.what, found.size, found.paddr, found.execute) == ("leaf", 1 << 21, 0x20_0000, False)


class TestArm64Registers:
    """D24.2, TCR_EL1 and TTBRn_EL1."""

    def test_two_windows_of_different_size(self):
        tcr = 16 | 25 << 16 | 2 << 30 | 5 << 32  # T0SZ 16, T1SZ 25, TG0 4K, TG1 4K
        (low, end0, zero), (start1, top, one) = arm64.from_registers(memory({}), 0x1000_0001, 0x2000_0000, tcr)
        assert (low, end0, start1, top) == (0, 1 << 48, (1 << 64) - (1 << 39), 1 << 64)
        assert (zero.root, one.root) == (0x1000_0000, 0x2000_0000)  # without CnP
        assert (len(zero.shifts()), len(one.shifts())) == (4, 3)

    def test_granules_are_numbered_differently(self):
        tcr = 17 | 2 << 14 | 17 << 16 | 1 << 30 | 5 << 32
        windows = arm64.from_registers(memory({}), 0, 0, tcr)
        assert [walker.page_shift for _, _, walker in windows] == [14, 14]

    def test_lpa2_roots(self):
        """Bits 51:48 lie in bits 5:2 of the TTBR; a root of 16 entries needs 128 bytes only."""
        tcr = 12 | 12 << 16 | 2 << 30 | 6 << 32 | 1 << 59
        (_, _, zero), (_, _, one) = arm64.from_registers(memory({}), 0x4208_0180 | 0xA << 2, 0x4208_0000, tcr)
        assert zero.root == 0xA << 48 | 0x4208_0180
        assert one.root == 0x4208_0000

    def test_a_window_may_be_off(self):
        tcr = 16 | 16 << 16 | 2 << 30 | 1 << 7
        assert [low for low, _, _ in arm64.from_registers(memory({}), 0, 0, tcr)] == [(1 << 64) - (1 << 48)]


class TestArm64Walks:
    def test_the_upper_window_is_cut_from_the_top(self):
        """The last entry of a root of 16 is the highest address."""
        words = {0x1000 + 8 * 15: 0x2003, 0x2000 + 8 * 511: 0x40_0000_0000 * 3 | 0x401}
        found = Arm64(memory(words), 0x1000, 12, 52, ds=True).look((1 << 64) - 4096)
        assert (found.what, found.depth, found.size) == ("leaf", 1, 1 << 39)

    def test_the_address_of_lpa2(self):
        found = Arm64(memory({0: 0x0003_0000_0000_1303, 0x000F_0000_0000_1000: 0}), 0, 12, 52, ds=True).look(0)
        assert (found.what, found.depth) == ("hole", 1)

    def test_64k_blocks_and_addresses(self):
        walker = Arm64(memory({}), 0, 16, 48, lpa=True)
        assert walker.decode(29, 0x0000_0000_2000_F401).frame == 0x000F_0000_2000_0000
        assert walker.decode(42, 0x0000_0400_0000_0401).what == "leaf"
        assert Arm64(memory({}), 0, 16, 48).decode(42, 0x0000_0400_0000_0401).what == "reserved"

    def test_tables_take_rights_away(self):
        words = {0: 0x1003 | 1 << 61, 0x1000: 0x2003 | 1 << 62, 0x2000: 0x3003 | 1 << 59, 0x3000: 0x4443}
        rights = Arm64(memory(words), 0).look(0).rights
        assert rights == (True, False, False, False, False, True)
        without = Arm64(memory(words), 0, hierarchical=False).look(0).rights
        assert without == (True, True, False, True, True, True)  # EL1 executes nothing that EL0 may write


class TestRiscVWalks:
    def test_a_napot_page_takes_four_more_bits_of_the_address(self):
        raw = 0x8000_0000_0000_00D7 | (0x80008 << 10)
        words = {0: 1 << 10 | 1, 0x1000: 2 << 10 | 1, **{0x2000 + 8 * at: raw for at in range(16)}}
        walker = RiscV(memory(words), 0)
        assert [walker.look(at << 12).paddr for at in range(16)] == [0x8000_0000 + (at << 12) for at in range(16)]

    def test_a_global_table_makes_global_pages(self):
        words = {0: 1 << 10 | 0x21, 0x1000: 0x2000_00CF}
        assert RiscV(memory(words), 0).look(0).global_

    def test_satp(self):
        windows = riscv.from_registers(memory({}), 0xA123_4000_0008_0001)
        assert [(low, end) for low, end, _ in windows] == [(0, 1 << 56), ((1 << 64) - (1 << 56), 1 << 64)]
        assert windows[0][2].root == 0x4000_0008_0001 << 12 & (1 << 56) - 1
