"""Formats and windows from registers, and what registers are refused, each in one line with what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.errors import UnsupportedError
from pagewalk.formats import FORMATS, AccessRules, find_format, from_registers, to_registers, windows_of
from tests.reference import ia32 as reference

X86 = {"cr0": 0x8005_0033, "cr3": 0x4B2_4000, "cr4": 0x75_0EF0, "efer": 0xD01}
I386 = {"cr0": 0x8005_0033, "cr3": 0x2D7_E000, "cr4": 0x6D0, "efer": 0}
PAE = {**I386, "cr3": 0x1CF_2020, "cr4": 0x6F0, "efer": 0x800}
ARM64 = {"ttbr0_el1": 0x43B9_5000, "ttbr1_el1": 0x5_0000_4209_A000, "tcr_el1": 0x450_0074_B550_3510}
RISCV = {"satp": 0x8000_2000_0008_398E}
TOP = 1 << 64


def tcr(*, t0sz=16, t1sz=16, tg0=0, tg1=2, more=0):
    """A TCR_EL1: 4 KiB and 48 bits in both halves unless said."""
    return t0sz | t1sz << 16 | tg0 << 14 | tg1 << 30 | more


def opened(**registers):
    return from_registers(registers)


class TestText:
    @pytest.mark.parametrize("registers", [X86, ARM64, RISCV], ids=["x86", "arm64", "riscv"])
    def test_text_and_mapping_say_the_same(self, registers):
        text = ", ".join(f"{name.upper()} = {value:#X}" for name, value in registers.items())
        numbers = {name.title(): np.uint64(value) for name, value in registers.items()}
        words = {name: hex(value) for name, value in registers.items()}
        assert from_registers(text) == from_registers(numbers) == from_registers(words) == from_registers(registers)

    @pytest.mark.parametrize(
        ("registers", "error", "says"),
        [
            ("cr3", ValueError, "'cr3' is not name=value: write"),
            ("=5", ValueError, "'=5' is not name=value"),
            ("", ValueError, "'' is not name=value"),
            ("cr3=0x1000,", ValueError, "'' is not name=value"),
            ({}, ValueError, "no register is given: write name=value"),
            ("cr3=0x1000,CR3=0x1000", ValueError, "cr3 is given twice"),
            ({"cr3": 1, "CR3": 1}, ValueError, "cr3 is given twice"),
            ("cr3=zz", ValueError, "cr3 is a number, not 'zz': write hexadecimal digits after 0x"),
            ("cr3=", ValueError, "cr3 is a number, not ''"),
            ("cr0=80050033", ValueError, "cr0 is a number, not '80050033': write hexadecimal digits after 0x"),
            ("cr3=0000000004b24000", ValueError, "write hexadecimal digits after 0x"),
            ("cr3=-1", ValueError, "write hexadecimal digits after 0x"),
            ({"cr3": -1}, ValueError, "cr3 has 64 bits, which -0x1 does not fit"),
            ({"cr3": 1 << 64}, ValueError, "cr3 has 64 bits, which 0x10000000000000000 does not fit"),
            ("cr3=0x" + "f" * 5000, ValueError, "does not fit"),
            ({"cr3": 1.5}, TypeError, "cr3 must be an integer, not 1.5"),
            ({"cr3": True}, TypeError, "cr3 must be an integer"),
            ({3: 0x1000}, TypeError, "the name of a register is needed, not 3"),
            (0x1000, TypeError, "registers are a mapping of names to values, or text, not 4096"),
            ([("cr3", 0x1000)], TypeError, "registers are a mapping"),
        ],
    )
    def test_what_is_none_is_refused(self, registers, error, says):
        with pytest.raises(error) as caught:
            from_registers(registers)
        assert says in str(caught.value)
        assert len(str(caught.value)) < 200


class TestRefused:
    @pytest.mark.parametrize(
        ("registers", "says"),
        [
            ({"cr33": 1}, "unknown register 'cr33': did you mean 'cr3'?.*known are cr0, cr3"),
            ({"cr3": 0x1000, "cr2": 1}, "unknown register 'cr2'"),
            ({"cr3": 0x1000, "satp": 1}, "cr3, satp are registers of different architectures: give one's alone"),
            ({**ARM64, "cr4": 0}, "different architectures"),
            ({"cr4": 0x20}, "cr3 is missing beside cr4: give it as well"),
            ({"ttbr0_el1": 0}, "tcr_el1 is missing beside ttbr0_el1"),
            ({"tcr_el1": 0}, "ttbr0_el1 or ttbr1_el1 is missing beside tcr_el1"),
            ({"mair_el1": 0}, "tcr_el1 is missing"),
            ({**X86, "cr0": 0x33}, "cr0 0x33 says that paging is off"),
            ({**X86, "efer": 0x100}, "efer 0x100 has LME .bit 8. without LMA .bit 10.*of one moment"),
            (
                {**X86, "cr4": 0x77_0EF0, "efer": 0},
                "cr4 0x770ef0 with PCIDs .bit 17. contradicts a CPU that is not in 64-bit mode",
            ),
            ({**I386, "cr3": 0x1_0000_0000}, "cr3 0x100000000 is wider than 32 bits, and the CPU is not in 64-bit"),
            ({"cr3": 0x1000, "efer": 0}, "efer 0x0 says that the CPU is not in 64-bit mode .bit 10.: give cr4 as well"),
            ({**X86, "cr4": 0x10}, "cr4 0x10 without PAE .bit 5. contradicts 64-bit mode"),
            ({"satp": 0}, "satp 0x0 says that translation is off: 8, 9 and 10"),
            ({"satp": 1 << 60}, "satp 0x1000000000000000 has mode 1, which is reserved"),
            ({"satp": 11 << 60}, "has mode 11, which is reserved"),
            ({**ARM64, "tcr_el1": tcr(tg0=3)}, "has a reserved granule, TG0 = 3"),
            ({**ARM64, "tcr_el1": tcr(tg1=0)}, "has a reserved granule, TG1 = 0"),
            ({**ARM64, "tcr_el1": tcr(t0sz=0)}, "has T0SZ = 0: a window of 64 bits cannot be"),
            ({**ARM64, "tcr_el1": tcr(t1sz=12)}, "has T1SZ = 12: a window of 52 bits cannot be"),
            ({**ARM64, "tcr_el1": tcr(t0sz=63)}, "has T0SZ = 63"),
            ({**ARM64, "tcr_el1": tcr(tg1=3)}, "gives ttbr0_el1 and ttbr1_el1 different formats: open them one by one"),
            ({**ARM64, "tcr_el1": tcr(more=1 << 7 | 1 << 23)}, "switches off the walks of each register"),
        ],
    )
    def test_in_one_line(self, registers, says):
        with pytest.raises(pw.UnsupportedError, match=says) as caught:
            from_registers(registers)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("registers", [X86, ARM64, RISCV], ids=["x86", "arm64", "riscv"])
    def test_an_unknown_system(self, registers):
        with pytest.raises(
            pw.UnsupportedError, match=r"unknown system 'linus': did you mean 'linux'.*linux-3.10 to linux-7.3"
        ):
            from_registers(registers, "linus")
        with pytest.raises(TypeError, match="the name of an operating system is needed, not 7"):
            from_registers(registers, 7)


class TestX86:
    def test_both_windows_have_the_root(self):
        form, windows, names = from_registers(X86)
        assert (form.name, form.system, names) == ("x86-64", "linux", ("cr3", "cr3"))
        assert [(one.start, one.end, one.root) for one in windows] == [
            (0, 1 << 47, 0x4B2_4000),
            (TOP - (1 << 47), TOP, 0x4B2_4000),
        ]

    def test_the_root_has_no_flags(self):
        """PCID and the bit that keeps the TLB are none of the address."""
        assert opened(cr3=1 << 63 | 0x4B2_4FFF).windows[0].root == 0x4B2_4000

    def test_five_levels(self):
        assert opened(cr3=0, cr4=1 << 12 | 0x20).format.name == "x86-64-la57"
        assert opened(cr3=0).format == find_format("x86-64")

    def test_addresses_may_be_tagged(self):
        user, kernel = opened(cr3=1 << 61, cr4=0x20).windows
        assert (user.ignored, kernel.ignored) == (0x3F << 57, 0)
        assert user.holds(0x7E << 56 | 0x1000)
        assert opened(cr3=1 << 62, cr4=0x20).windows[0].ignored == 0x7FFF << 48

    def test_rights_follow_the_control_registers(self):
        strict = opened(cr3=0, cr0=0x8001_0001, cr4=1 << 20 | 1 << 21 | 0x20).format
        assert {rule.name for rule in strict.last.access.rules} == {"SMEP", "SMAP"}
        assert [rule.name for rule in opened(cr3=0, cr0=0x8000_0001).format.last.access.rules] == ["WP"]
        assert opened(cr3=0).format.last.access == AccessRules()


class TestIa32:
    """SDM vol. 3A, 5.1.1: LMA clear; CR4.PAE tells three levels from two, and CR4.PSE says whether these have 4 MiB."""

    def test_two_levels(self):
        form, (window,), names = from_registers(I386)
        assert (form, names) == (find_format("ia32"), ("cr3",))
        assert (window.start, window.end, window.root) == (0, 1 << 32, 0x2D7_E000)

    def test_without_efer(self):
        """Which a CPU may not have; with PAE, it is 64-bit mode that is taken for granted."""
        rest = {name: value for name, value in I386.items() if name != "efer"}
        assert from_registers(rest) == from_registers(I386)
        assert opened(cr3=0x1000, cr4=0x20).format.name == "x86-64"

    def test_without_large_pages(self):
        """Bit 7 of a directory's entry means nothing then."""
        (directory, _) = from_registers({**I386, "cr4": 0x6C0}).format.hardware
        assert directory.kind(0x24000E7) is pw.Kind.TABLE
        assert from_registers(I386).format.hardware[0].kind(0x24000E7) is pw.Kind.PRESENT

    def test_pae(self):
        form, (window,), _ = from_registers(PAE)
        assert form == find_format("pae")
        assert form.levels_of(window)[0].table_bytes == 32
        assert window.root == 0x1CF_2020

    @pytest.mark.parametrize("low", range(0, 0x1000, 0x20))
    def test_the_root_of_pae_has_32_bytes(self, low):
        """Table 5-7: CR3 bits 31:5; 4 and 3 are PCD and PWT."""
        assert from_registers({**PAE, "cr3": 0xFFFF_F01F | low}).windows[0].root == 0xFFFF_F000 | low

    @pytest.mark.parametrize("registers", [I386, PAE], ids=["i386", "pae"])
    def test_as_the_manual_says(self, registers):
        walker = reference.from_registers(lambda _: None, registers["cr3"] | 0x18, registers["cr4"])
        assert from_registers({**registers, "cr3": registers["cr3"] | 0x18}).windows[0].root == walker.root

    def test_execute_disable(self):
        form = from_registers({**PAE, "efer": 0}).format
        assert form.last.wrong(1 << 63 | 0x1025) == 1 << 63
        assert not find_format("pae").last.wrong(1 << 63 | 0x1025)

    def test_rights_follow_the_control_registers(self):
        for registers in (I386, PAE):
            form = from_registers({**registers, "cr4": registers["cr4"] | 1 << 20}).format
            assert [rule.name for rule in form.last.access.rules] == ["SMEP"]

    def test_five_levels_are_of_64_bit_mode_alone(self):
        """SDM 2.5: CR4.LA57 may be set before the switch to that mode."""
        assert from_registers({**PAE, "cr4": PAE["cr4"] | 1 << 12}).format.name == "pae"


class TestUsersRoot:
    """Linux 6.1 with PTI, arch/x86/mm/tlb.c: the user's root is a page above the kernel's, its PCID has bit 11."""

    KERNEL, USER = 0x4B2_4001, 1 << 63 | 0x4B2_5801

    def test_each_root_is_the_one_that_is_given(self):
        assert opened(cr3=self.KERNEL).windows[0].root == 0x4B2_4000
        assert opened(cr3=self.USER).windows[0].root == 0x4B2_5000

    def test_the_users_from_the_kernels(self):
        assert opened(cr3=self.KERNEL | 1 << 12).windows[0].root == 0x4B2_5000

    @pytest.mark.parametrize("bit", [*range(12), *range(52, 64)])
    def test_no_other_bit_is_of_the_root(self, bit):
        """PCID in 11:0, LAM in 62:61, 63 keeps what the TLB has; 60:52 are above any physical address."""
        assert {window.root for window in opened(cr3=0x4B2_4000 | 1 << bit).windows} == {0x4B2_4000}

    def test_tags_with_the_users_root(self):
        user, kernel = opened(cr3=self.USER | 1 << 62, cr4=0x20).windows
        assert (user.root, user.ignored) == (kernel.root, 0x7FFF << 48) == (0x4B2_5000, 0x7FFF << 48)


class TestArm64:
    def test_each_half_has_its_root(self):
        form, windows, names = from_registers(ARM64)
        assert (form.name, names) == ("arm64-4k", ("ttbr0_el1", "ttbr1_el1"))
        assert [(one.start, one.end, one.root) for one in windows] == [
            (0, 1 << 48, 0x43B9_5000),
            (TOP - (1 << 48), TOP, 0x4209_A000),
        ]

    def test_one_half_alone(self):
        """By one register, or where the other's walks are off."""
        rest = {name: value for name, value in ARM64.items() if name != "ttbr0_el1"}
        assert from_registers(rest).windows == from_registers(ARM64).windows[1:]
        off = from_registers({**ARM64, "tcr_el1": ARM64["tcr_el1"] | 1 << 7})
        assert (off.windows, off.registers) == (from_registers(rest).windows, ("ttbr1_el1",))

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (tcr(tg0=2, tg1=1), "arm64-16k"),
            (tcr(tg0=1, tg1=3), "arm64-64k"),
            (tcr(more=1 << 59), "arm64-4k-lpa2"),
            (tcr(tg0=2, tg1=1, more=1 << 59), "arm64-16k-lpa2"),
            (tcr(tg0=1, tg1=3, more=6 << 32), "arm64-64k-lpa"),
        ],
    )
    def test_formats(self, value, name):
        assert from_registers({**ARM64, "tcr_el1": value}).format.name == name

    def test_halves_of_different_width(self):
        form, (user, kernel), _ = from_registers({**ARM64, "tcr_el1": tcr(t0sz=25, t1sz=28)})
        assert (user.end, kernel.start) == (1 << 39, TOP - (1 << 36))
        assert form.levels_of(user)[0].shift == 30
        assert form.levels_of(kernel)[0].entries == 64

    def test_a_wide_root(self):
        """D24.2: of 52 bits, 51:48 are in bits 5:2; the root is aligned to 64 bytes."""
        ttbr = 0x4208_0180 | 0xA << 2
        found = opened(ttbr0_el1=ttbr, tcr_el1=tcr(t0sz=34, tg0=1, more=6 << 32))
        assert found.windows[0].root == 0xA_0000_4208_0180

    def test_the_root_has_no_asid(self):
        assert opened(ttbr1_el1=0x5_0000_4209_A001, tcr_el1=tcr()).windows[0].root == 0x4209_A000


class TestRiscv:
    @pytest.mark.parametrize(("mode", "name", "bits"), [(8, "sv39", 38), (9, "sv48", 47), (10, "sv57", 56)])
    def test_modes(self, mode, name, bits):
        form, windows, names = opened(satp=mode << 60 | 0xFFFF << 44 | 0x8_398E)
        assert (form, names) == (find_format(f"riscv-{name}"), ("satp", "satp"))
        assert [(one.start, one.end, one.root) for one in windows] == [
            (0, 1 << bits, 0x8398_E000),
            (TOP - (1 << bits), TOP, 0x8398_E000),
        ]

    def test_a_register_of_32_bits(self):
        """MODE in bit 31, ASID in 30:22, and a root of 34 bits."""
        form, windows, names = opened(satp=1 << 31 | 0x1FF << 22 | 0x3F_FFFE)
        assert (form, names) == (find_format("riscv-sv32"), ("satp",))
        assert [(*tuple(one[:2]), one.root) for one in windows] == [(0, 1 << 32, 0x3_FFFF_E000)]

    def test_rights_of_32_bits(self):
        """SUM clear: supervisor mode does not read the user's pages."""
        assert opened(satp=1 << 31, sstatus=0).format.last.codec.access != find_format("riscv-sv32").last.codec.access

    def test_no_system_is_known_on_32_bits(self):
        assert from_registers({"satp": 1 << 31}, "none").format.system == "none"
        with pytest.raises(pw.UnsupportedError, match="no rows for the entries of 'linux-6"):
            from_registers({"satp": 1 << 31}, "linux-6.1")


@pytest.mark.parametrize("registers", [X86, I386, PAE, ARM64, RISCV], ids=["x86", "i386", "pae", "arm64", "riscv"])
def test_the_system_is_the_one_that_is_asked_for(registers):
    for os in ("linux", "linux-7.2", "none"):
        form = from_registers(registers, os).format
        assert form.system == os
        assert form.last.kind(0) is pw.Kind.NONE
    assert from_registers(registers, "none").format.last.kind(0x100) is pw.Kind.OTHER


class TestToRegisters:
    """What is to be loaded says what it was made of."""

    @pytest.mark.parametrize("name", FORMATS)
    def test_registers_say_what_they_were_made_of(self, name):
        form = find_format(name, "none")
        root = 0x40_0000 if form.word.size == 4 or name == "pae" else 0x1_2340_0000
        windows = tuple(window._replace(root=root) for window in form.windows)
        values = to_registers(form, windows)
        found = from_registers(values, "none")
        assert (found.format.name, found.format.physical_bits) == (name, form.physical_bits)
        assert [level.rows for level in found.format.hardware] == [level.rows for level in form.hardware]
        assert [window[:5] for window in found.windows] == [window[:5] for window in windows]

    @pytest.mark.parametrize("bits", [(39, 39), (25, 48), (48, 30)])
    @pytest.mark.parametrize("name", ["arm64-4k", "arm64-16k-lpa2", "arm64-64k", "arm64-64k-lpa"])
    def test_widths_and_halves_of_arm64(self, name, bits):
        form = find_format(name, "none")
        high = 0x7_0000_0001_0000 if form.physical_bits > 48 else 0x7000_0001_0000
        windows = [window._replace(root=high) for window in windows_of(form, bits)]
        for some in (windows, windows[:1], windows[1:]):
            found = from_registers(to_registers(form, some), "none")
            assert found.format.name == name
            assert [window[:5] for window in found.windows] == [window[:5] for window in some]

    def test_widths_that_cannot_be(self):
        with pytest.raises(UnsupportedError, match="riscv-sv39's addresses is not chosen: leave bits out"):
            windows_of(find_format("riscv-sv39"), 39)
        with pytest.raises(ValueError, match="arm64-4k have 25 to 48 bits each, not 52 and 52"):
            windows_of(find_format("arm64-4k"), 52)

    def test_a_format_of_somebodys_own(self):
        form = replace(find_format("x86-64"), name="mine")
        with pytest.raises(UnsupportedError, match="nobody has said which registers the format mine has"):
            to_registers(form, form.windows)
