"""Formats and windows from registers, and what registers are refused, each in one line with what to do."""

from __future__ import annotations

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import AccessRules, find_format, from_registers

X86 = {"cr0": 0x8005_0033, "cr3": 0x4B2_4000, "cr4": 0x75_0EF0, "efer": 0xD01}
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
            ({**X86, "efer": 0x100}, "efer 0x100 says that the CPU is not in 64-bit mode"),
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


@pytest.mark.parametrize("registers", [X86, ARM64, RISCV], ids=["x86", "arm64", "riscv"])
def test_the_system_is_the_one_that_is_asked_for(registers):
    for os in ("linux", "linux-7.2", "none"):
        form = from_registers(registers, os).format
        assert form.system == os
        assert form.last.kind(0) is pw.Kind.NONE
    assert from_registers(registers, "none").format.last.kind(0x100) is pw.Kind.OTHER
