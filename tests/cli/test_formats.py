"""Formats on the command line: 32-bit x86 and PAE, and x86-64 with an encryption bit."""

from __future__ import annotations

import json

import pytest

from tests.built import ENCRYPTED, build
from tests.guests import unpack

TWO_LEVELS = {
    0x1000: 0x2000 | 0x67,
    0x1004: 0x80_20E7,  # 4 MiB at 0x800000, and PSE-36: bit 13 is bit 32 of its address
    0x2000 + 4 * 5: 0x3000 | 0x25,
    0x2000 + 4 * 6: 0x4000 | 0x160,
    0x2000 + 4 * 7: 0x2468A0A,
}
"""A root at 0x1000: a page, one of PROT_NONE, one in swap, a large one."""
PAE = {
    0x1FE0: 0x2001,
    0x1FF8: 0x3001,  # the last GiB
    0x2000: 0x4000 | 0x67,
    0x2008: 0x20_00E7,
    0x4000 + 8 * 5: 0x5000 | 1 << 63 | 0x25,
    0x3000 + 8 * 511: 0x40_01E3,
}
"""A root at 0x1fe0, 32 bytes before the next table: a page, two large ones."""


@pytest.fixture
def two_levels(tmp_path):
    return build(tmp_path / "ia32", TWO_LEVELS, word=4)


@pytest.fixture
def pae(tmp_path):
    return build(tmp_path / "pae", PAE)


@pytest.fixture
def encrypted(tmp_path):
    return build(tmp_path / "sev", ENCRYPTED)


def test_help_names_every_format(invoke):
    for command in ("map", "vtop"):
        text = invoke(command, "--help").stdout
        assert "ia32, pae" in " ".join(text.split())


class TestTwoLevels:
    BY = (("--root", "0x1000", "--format", "ia32"), ("--registers", "cr3=0x1018,cr4=0x6d0,efer=0x0"))

    @pytest.mark.parametrize("where", BY)
    def test_vtop(self, invoke, two_levels, where):
        done = invoke("vtop", two_levels, *where, "0x5123", "0x4abcde")
        small, large = done.stdout.split("\n\n")
        assert done.exit_code == 0
        assert "0x00002067" in small
        assert "-> 0x3123  present 4 KiB" in small
        assert "-> 0x1008abcde  present 4 MiB" in large

    def test_map(self, invoke, two_levels):
        done = invoke("map", two_levels, *self.BY[0], "--json")
        rows = [(row["vaddr"], row["kind"], row["paddr"]) for row in json.loads(done.stdout)["mappings"]]
        assert rows == [
            ("0x5000", "present", "0x3000"),
            ("0x6000", "prot_none", "0x4000"),
            ("0x7000", "swap", None),
            ("0x400000", "present", "0x100800000"),
        ]

    def test_an_address_beyond_it(self, invoke, two_levels):
        done = invoke("vtop", two_levels, *self.BY[0], "0x100000000")
        assert done.exit_code == 4
        assert done.stderr == "pagewalk: 0x100000000: not canonical: ia32 has addresses below 0x100000000\n"

    def test_a_root_that_is_none(self, fails, two_levels):
        line = fails(4, "vtop", two_levels, "--root", "0x1020", "--format", "ia32", "0x5000")
        assert "0x1020 is not a 4096-byte aligned physical address" in line


class TestPae:
    BY = (("--root", "0x1fe0", "--format", "pae"), ("--registers", "cr3=0x1fe0,cr4=0x6f0,efer=0x800"))

    @pytest.mark.parametrize("where", BY)
    def test_vtop(self, invoke, pae, where):
        done = invoke("vtop", pae, *where, "0x5123", "0xffe12345")
        small, large = done.stdout.split("\n\n")
        assert done.exit_code == 0
        assert "at 0x1fe0" in small
        assert "-> 0x5123  present 4 KiB" in small
        assert "-> 0x412345  present 2 MiB" in large

    def test_map(self, invoke, pae):
        done = invoke("map", pae, *self.BY[0], "--json")
        rows = [(row["vaddr"], row["kind"], row["paddr"]) for row in json.loads(done.stdout)["mappings"]]
        assert rows == [
            ("0x5000", "present", "0x5000"),
            ("0x200000", "present", "0x200000"),
            ("0xffe00000", "present", "0x400000"),
        ]

    def test_a_root_that_is_none(self, fails, pae):
        line = fails(4, "vtop", pae, "--root", "0x1fe8", "--format", "pae", "0x5000")
        assert "0x1fe8 is not a 32-byte aligned physical address" in line

    def test_a_table_of_another_format(self, fails, two_levels):
        line = fails(4, "vtop", two_levels, "--root", "0x1000", "--format", "pae", "0x5000")
        assert "is hardly a top table: of 1 entries that are not empty, 1 set reserved bits" in line
        assert "the format (pae)?" in line

    def test_registers_of_another_mode(self, fails, pae):
        registers = "cr3=0x1fe0,cr4=0x6d0,efer=0x400"
        line = fails(8, "vtop", pae, "--registers", registers, "0x5000")
        assert "cr4 0x6d0 without PAE (bit 5) contradicts 64-bit mode" in line


class TestEncryption:
    def test_vtop_tells_which_entries_have_the_bit(self, invoke, encrypted):
        done = invoke("vtop", encrypted, "--root", "0x1000", "--encryption-bit", "51", "0x0", "0x1000")
        private, shared = done.stdout.split("\n\n")
        assert done.exit_code == 0
        assert "-> 0x6000" in private
        assert private.count("encrypted=0x1") == 4
        assert "-> 0x7000" in shared
        assert shared.count("encrypted=0x1") == 3

    def test_map(self, invoke, encrypted):
        done = invoke("map", encrypted, "--root", "0x1000", "--encryption-bit", "51", "--json")
        assert [row["paddr"] for row in json.loads(done.stdout)["mappings"]] == ["0x6000", "0x5000"]

    @pytest.mark.parametrize(
        ("options", "code", "says"),
        [
            (("--encryption-bit", "52"), 2, "one of bits 32 to 51 of an address, not 52"),
            (("--encryption-bit", "51", "--format", "pae"), 8, "one of x86-64's, and pae has none"),
        ],
    )
    def test_wrong_ones_in_one_line(self, fails, encrypted, options, code, says):
        assert says in fails(code, "vtop", encrypted, "--root", "0x1000", "0x0", *options)

    def test_a_process_takes_none(self, invoke):
        done = invoke("vtop", "pid:1", "--encryption-bit", "51", "0x0")
        assert done.exit_code == 2
        assert "takes no --encryption-bit" in done.stderr


class TestWrongSystem:
    """A real guest's entries read as another system's: as whose is said always, and why where that cannot be."""

    @staticmethod
    def last_lines(invoke, folder, guest, os):
        one = unpack(guest, folder)
        registers = ",".join(f"{name}={value:#x}" for name, value in one.registers.items())
        (bits,) = (bits for name, bits in (("cr3", 47), ("ttbr0", 48), ("satp", 38)) if name in one.truth)
        where = ("--base", hex(one.truth["ram_base"]), "--registers", registers, "--end", hex(1 << bits))
        done = invoke("map", one.path, *where, "--os", os)
        assert done.exit_code == 0
        return done.stdout.splitlines()[-2:]

    @pytest.mark.parametrize("guest", ["x86_64-7.3-4level", "aarch64-7.2-4k-48", "riscv64-7.2-sv39"])
    def test_its_own(self, invoke, tmp_path, guest):
        assert "another kernel" not in " ".join(self.last_lines(invoke, tmp_path, guest, "linux-7.2"))

    @pytest.mark.parametrize(
        ("guest", "os"),
        [
            ("x86_64-7.3-4level", "linux-3.10"),
            ("x86_64-7.3-4level", "linux-4.14"),
            ("x86_64-7.3-4level", "windows"),
            ("aarch64-7.2-4k-48", "linux-6.1"),
        ],
    )
    def test_another(self, invoke, tmp_path, guest, os):
        counts, cause = self.last_lines(invoke, tmp_path, guest, os)
        assert counts.endswith(f"; read as {os}")
        assert "outside the image: another kernel version (--os), an encryption bit, or the wrong format?" in cause

    @pytest.mark.parametrize(
        ("guest", "os", "says"),
        [
            ("x86_64-7.3-4level", "linux-6.12", "hold marks that this kernel does not know"),
            ("riscv64-7.2-sv39", "linux-6.6", "hold marks that this kernel does not know"),
            ("aarch64-7.2-4k-48", "linux-6.12", "hold marks that this kernel does not know"),
            ("aarch64-7.2-4k-48", "linux-5.10", "name swap slots that no device has"),
        ],
    )
    def test_though_all_frames_are_inside(self, invoke, tmp_path, guest, os, says):
        """A later kernel's guards are marks that this one has not; its swap, slots that no device can have."""
        _, cause = self.last_lines(invoke, tmp_path, guest, os)
        assert cause.endswith(f" rows {says}: another kernel version (--os), or the wrong format?")
