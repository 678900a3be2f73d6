"""``vtop --access``: allowed or refused, by which bit; what tables take away; what memory types are called."""

from __future__ import annotations

import json

import pytest

P, RW, US, A, D, XD = 1, 2, 4, 0x20, 0x40, 1 << 63
TABLE = P | RW | US | A
TABLES = (0x1000, 0x2000, 0x3000, 0x4000)
AT = "0x3123"
USERS, WHO, ARM = "what the user may access", "supervisor mode", "(Arm ARM D8.4.1)"
MODE, STEP = "(Memory Privilege in mstatus)", "(Virtual Address Translation Process, step 9)"


def image_of(path, words):
    """A file with some words in it."""
    data = bytearray(0x8000)
    for at, word in words.items():
        data[at : at + 8] = word.to_bytes(8, "little")
    path.write_bytes(data)
    return path


@pytest.fixture
def x86(tmp_path):
    """Makes an image with one page at 0x3000; the rights of its entry, and of the page directory's."""

    def make(leaf, directory=TABLE):
        words = {0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3000: 0x4000 | directory, 0x4018: 0x5000 | leaf}
        return image_of(tmp_path / "x86.ram", words)

    return make


@pytest.fixture
def asked(run):
    """The last line and the exit code of ``vtop --access``."""

    def call(image, registers, access, *more):
        done = run("vtop", image, "--registers", registers, AT, "--access", access, *more)
        return done.stdout.splitlines()[-1].strip(), done.returncode

    return call


class TestX86:
    """Intel SDM vol. 3A, 5.6."""

    @pytest.mark.parametrize(
        ("leaf", "registers", "access", "says"),
        [
            (P | RW | US, "cr3=0x1000", "user-write", "allowed"),
            (P | US, "cr3=0x1000", "user-write", "refused by PT PTE [3]: R/W (bit 1) is clear"),
            (P, "cr3=0x1000", "user-write", "refused by PT PTE [3]: R/W (bit 1) is clear, U/S (bit 2) is clear"),
            (P | US | XD, "cr3=0x1000", "kernel-execute", "refused by PT PTE [3]: XD (bit 63) is set"),
            (
                P,
                "cr3=0x1000,cr0=0x80000001",
                "kernel-write",
                "allowed by cr0.WP (bit 16), which is clear: the kernel writes whatever it may read (SDM 5.6.1)",
            ),
            (
                P | US,
                "cr3=0x1000,cr4=0x100020",
                "kernel-execute",
                f"refused by cr4.SMEP (bit 20), which is set: {USERS}, the kernel does not execute (SDM 5.6.1)",
            ),
            (
                P | US,
                "cr3=0x1000,cr4=0x200020",
                "kernel-read",
                f"refused by cr4.SMAP (bit 21), which is set: {USERS}, the kernel does not read or write (SDM 5.6.1)",
            ),
            (
                P | RW | US | 5 << 59,
                "cr3=0x1000,cr4=0x400020,pkru=0x800",
                "user-write",
                "refused by pkru.WD5 (bit 11), which is set: no writes where the page's key is 5 (SDM 5.6.2)",
            ),
            (P | RW | US | 4 << 59, "cr3=0x1000,cr4=0x400020,pkru=0x800", "user-write", "allowed"),
            (P | RW | US | 5 << 59, "cr3=0x1000,cr4=0x20,pkru=0x800", "user-write", "allowed"),
            (
                P | RW | 5 << 59,
                "cr3=0x1000,cr4=0x1000020,pkrs=0x400",
                "kernel-read",
                "refused by pkrs.AD5 (bit 10), which is set: no data access where the page's key is 5 (SDM 5.6.2)",
            ),
        ],
    )
    def test_by_which_bit(self, x86, asked, leaf, registers, access, says):
        code = 0 if says.startswith("allowed") else 12
        assert asked(x86(leaf), registers, access) == (f"{access}: {says}", code)

    def test_by_a_table_above(self, x86, asked):
        image = x86(P | RW | US, directory=P | US | A)
        assert asked(image, "cr3=0x1000", "user-write") == (
            "user-write: refused by PD PMD [0]: R/W (bit 1) is clear",
            12,
        )

    def test_what_does_not_translate_is_refused_too(self, x86, run):
        image = x86(US)
        done = run("vtop", image, "--root", "4K", AT, "--access", "user-read", "--json")
        (said,) = json.loads(done.stdout)
        assert (done.returncode, said["access"]) == (4, {"asked": "user-read", "allowed": False, "by": []})

    def test_a_prot_none_page_is_not_there(self, x86, run):
        assert run("vtop", x86(0x100 | US), "--root", "4K", AT).returncode == 0
        assert run("vtop", x86(0x100 | US), "--root", "4K", AT, "--access", "user-read").returncode == 4

    def test_json(self, x86, run):
        image = x86(P | RW | US, directory=P | US | A)
        ask = ["vtop", image, "--registers", "cr3=0x1000,pat=0x0007040600070406", AT, "--json"]
        (said,) = json.loads(run(*ask).stdout)
        bit = {"table": "PD", "level": "PMD", "bit": "R/W", "place": 1, "set": False}
        takes = {"table": "PD", "level": "PMD", "takes": ["kernel-write", "user-write"], "by": [bit]}
        assert (said["access"], said["inherited"]) == (None, [takes])
        assert said["entries"][-1]["fields"] == {"memory": 0, "pkey": 0, "memory_type": "WB"}
        (said,) = json.loads(run(*ask, "--access", "kernel-write").stdout)
        assert said["access"] == {"asked": "kernel-write", "allowed": False, "by": [bit]}

    def test_what_tables_take_away(self, x86, run):
        lines = run("vtop", x86(P | RW | US, directory=P | US | A), "--root", "4K", AT).stdout.splitlines()
        assert lines[-1] == "  PD PMD [0] takes away kernel-write user-write: R/W (bit 1) is clear"
        assert lines[-2].startswith("  -> 0x5123  present 4 KiB  r-xu")

    def test_several_addresses(self, x86, run):
        done = run("vtop", x86(P | US), "--root", "4K", AT, "0x3fff", "--access", "user-write")
        assert (done.returncode, done.stderr) == (12, "pagewalk: 2 of 2 addresses: user-write is refused\n")

    @pytest.mark.parametrize("wrong", ["user-wriet", "write", "User-Write", ""])
    def test_wrong_spelling(self, x86, fails, wrong):
        line = fails(2, "vtop", x86(P), "--root", "4K", AT, "--access", wrong)
        assert "'user-read', 'user-write', 'user-execute', 'kernel-read', 'kernel-write', 'kernel-execute'" in line


class TestArm64:
    """Arm ARM D8.4; MAIR_EL1 in D24.2."""

    REGISTERS = "ttbr0_el1=0x1000,tcr_el1=0x19,mair_el1=0x40044ff"  # 39 bits
    PAGE = 0x5000 | 1 << 10 | 3

    def image(self, path, leaf, table=0):
        words = {0x1000: 0x2003 | table, 0x2000: 0x3003, 0x3018: self.PAGE | leaf}
        return image_of(path / "arm64.ram", words)

    def test_only_the_kernel_executes(self, tmp_path, run):
        """AP[1] and AP[2] set, UXN set: EL0 reads, EL1 executes."""
        lines = run("vtop", self.image(tmp_path, 0xC0 | 1 << 54), "--registers", self.REGISTERS, AT).stdout.splitlines()
        assert lines[-1].startswith("  -> 0x5123  present 4 KiB  r-Xu")
        (row,) = json.loads(
            run("map", self.image(tmp_path, 0xC0 | 1 << 54), "--registers", self.REGISTERS, "--json").stdout
        )["mappings"]
        assert row["flags"][:4] == ["read", "user", "global", "accessed"]
        assert "kernel_exec" in row["flags"]

    def test_a_table_that_keeps_the_user_from_executing(self, tmp_path, run):
        lines = run("vtop", self.image(tmp_path, 0x40, 1 << 60), "--registers", self.REGISTERS, AT).stdout.splitlines()
        assert "rwXu" in lines[1]
        assert lines[-1] == "  level 1 PGD [0] takes away user-execute: UXNTable (bit 60) is set"

    @pytest.mark.parametrize(
        ("leaf", "more", "access", "says"),
        [
            (0x40, "", "kernel-execute", "refused: what EL0 may write, EL1 does not execute (Arm ARM D8.4.1)"),
            (
                0,
                ",sctlr_el1=0x80001",
                "kernel-execute",
                f"refused by sctlr_el1.WXN (bit 19), which is set: what EL1 may write, it does not execute {ARM}",
            ),
            (
                0xC0,
                ",pan=0x400000",
                "kernel-read",
                f"refused by pan.PAN (bit 22), which is set: what EL0 may access, EL1 does not read or write {ARM}",
            ),
        ],
    )
    def test_by_which_rule(self, tmp_path, asked, leaf, more, access, says):
        code = 0 if says.startswith("allowed") else 12
        assert asked(self.image(tmp_path, leaf), self.REGISTERS + more, access) == (f"{access}: {says}", code)

    def test_the_access_flag(self, tmp_path, asked):
        words = {0x1000: 0x2003, 0x2000: 0x3003, 0x3018: 0x5003}
        image = image_of(tmp_path / "arm64.ram", words)
        why = "a page whose access flag (AF) is clear faults (Arm ARM D8.5.1)"
        says = f"kernel-read: refused by tcr_el1.HA (bit 39), which is clear: {why}"
        assert asked(image, self.REGISTERS, "kernel-read") == (says, 12)
        assert asked(image, self.REGISTERS.replace("=0x19", "=0x8000000019"), "kernel-read") == (
            "kernel-read: allowed",
            0,
        )

    def test_memory_types(self, tmp_path, run):
        names = {0: "normal write-back", 1: "normal non-cacheable", 2: "device nGnRE", 3: "device nGnRE"}
        for index, name in names.items():
            image = self.image(tmp_path, index << 2)
            registers = self.REGISTERS.replace("40044ff", "040444ff")
            assert f"memory={index:#x} ({name})" in run("vtop", image, "--registers", registers, AT).stdout


class TestRiscV:
    """RISC-V privileged architecture: ``sstatus``, and the virtual address translation process."""

    @pytest.mark.parametrize(
        ("leaf", "more", "access", "says"),
        [
            (0xDF, ",sstatus=0x40000", "kernel-read", "allowed"),
            (
                0xDF,
                ",sstatus=0x0",
                "kernel-read",
                f"refused by sstatus.SUM (bit 18), which is clear: {USERS}, {WHO} does not read or write {MODE}",
            ),
            (0xDF, ",sstatus=0x40000", "kernel-execute", "refused by level 0 PTE [3]: U (bit 4) is set"),
            (
                0xD9,
                ",sstatus=0x80000",
                "user-read",
                f"allowed by sstatus.MXR (bit 19), which is set: what can be executed can be read {MODE}",
            ),
            (
                0x5F,
                "",
                "user-write",
                f"refused: a write to a page whose D is clear faults (Svade) {STEP}",
            ),
            (0x5F, ",menvcfg=0x2000000000000000", "user-write", "allowed"),
        ],
    )
    def test_by_which_bit(self, tmp_path, asked, leaf, more, access, says):
        image = image_of(
            tmp_path / "riscv.ram", {0x1000: 0x2000 >> 2 | 1, 0x2000: 0x3000 >> 2 | 1, 0x3018: 0x5000 >> 2 | leaf}
        )
        code = 0 if says.startswith("allowed") else 12
        assert asked(image, "satp=0x8000000000000001" + more, access) == (f"{access}: {says}", code)
