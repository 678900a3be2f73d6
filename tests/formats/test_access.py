"""What registers make of rights: each rule by the manual's own sentence, one register at a time."""

from __future__ import annotations

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.errors import UnsupportedError
from pagewalk.formats import Flag, Rights, from_registers, rights_text
from pagewalk.formats.access import ACCESSES, AccessRules, right_of
from pagewalk.formats.flags import flags_of
from pagewalk.formats.grants import code_of, permitted
from pagewalk.tables import judge
from pagewalk.testing import check_format

KR, KW, KX = Rights.KERNEL_READ, Rights.KERNEL_WRITE, Rights.KERNEL_EXEC
UR, UW, UX = Rights.USER_READ, Rights.USER_WRITE, Rights.USER_EXEC
KERNEL, USERS = KR | KW | KX, Rights.all()
SOUND = Flag.ACCESSED | Flag.DIRTY
X86, ARM64, RISCV = {"cr3": 0}, {"ttbr0_el1": 0, "tcr_el1": 25}, {"satp": 8 << 60}
PKE, PKS = 1 << 22, 1 << 24


def rules(registers: dict[str, int]) -> AccessRules:
    return from_registers(registers).format.last.codec.access


def allowed(access: AccessRules, rights: Rights, key: int = 0, flags: Flag = SOUND) -> Rights:
    """Everything that goes through."""
    found = Rights(0)
    for right in ACCESSES.values():
        found |= right if access.decide(right, rights, key, int(flags)).allowed else 0
    return found


CASES = [
    # SDM 5.6.1. EFLAGS.AC is taken as clear.
    (X86, USERS, 0, SOUND, USERS),
    (X86 | {"cr4": 1 << 20 | 0x20}, USERS, 0, SOUND, USERS & ~KX),  # SMEP
    (X86 | {"cr4": 1 << 21 | 0x20}, USERS, 0, SOUND, USERS & ~(KR | KW)),  # SMAP
    (X86 | {"cr4": 3 << 20 | 0x20}, KERNEL, 0, SOUND, KERNEL),  # neither is of the kernel's own pages
    (X86 | {"cr0": 1 << 31}, KR | UR, 0, SOUND, KR | KW | UR),  # WP clear: the kernel writes what it reads
    (X86 | {"cr0": 1 << 31, "cr4": 1 << 21 | 0x20}, KR | UR, 0, SOUND, UR),  # but not what SMAP keeps from it
    (X86 | {"cr0": 1 << 31 | 1 << 16}, KR | UR, 0, SOUND, KR | UR),
    (X86, USERS, 0, Flag(0), USERS),  # the hardware sets A and D
    # SDM 5.6.2: AD takes all data accesses, WD the writes; the kernel's only with WP; instructions are fetched
    (X86 | {"cr4": PKE | 0x20, "pkru": 1 << 6}, USERS, 3, SOUND, KX | UX),
    (X86 | {"cr4": PKE | 0x20, "pkru": 1 << 7}, USERS, 3, SOUND, USERS & ~(KW | UW)),
    (X86 | {"cr4": PKE | 0x20, "pkru": 1 << 7, "cr0": 1 << 31}, USERS, 3, SOUND, USERS & ~UW),
    (X86 | {"cr4": PKE | 0x20, "pkru": 3 << 6}, USERS, 2, SOUND, USERS),
    (X86 | {"cr4": PKE | 0x20, "pkru": 3 << 6}, KERNEL, 3, SOUND, KERNEL),  # only of the user's pages
    (X86 | {"cr4": 0x20, "pkru": 3 << 6}, USERS, 3, SOUND, USERS),
    (X86 | {"pkru": 1 << 6}, USERS, 3, SOUND, KX | UX),  # taken for one that is in use
    (X86 | {"cr4": PKS | 0x20, "pkrs": 1 << 6}, KERNEL, 3, SOUND, KX),  # only of the kernel's
    (X86 | {"cr4": PKS | 0x20, "pkrs": 1 << 7}, KERNEL, 3, SOUND, KR | KX),
    (X86 | {"cr4": PKS | 0x20, "pkrs": 3 << 6}, USERS, 3, SOUND, USERS),
    (X86 | {"pkrs": 3 << 6}, KERNEL, 3, SOUND, KERNEL),
    (X86 | {"cr4": PKE | PKS | 0x20, "pkru": 1 << 6, "pkrs": 3 << 6}, USERS, 3, SOUND, KX | UX),
    # Arm ARM D8.4.1: what EL0 may write EL1 does not execute; WXN; PAN, and EPAN of what EL0 may only execute
    (ARM64, USERS, 0, SOUND, USERS & ~KX),
    (ARM64, USERS & ~UW, 0, SOUND, USERS & ~UW),
    (ARM64 | {"sctlr_el1": 1 | 1 << 19}, USERS, 0, SOUND, USERS & ~(KX | UX)),
    (ARM64 | {"sctlr_el1": 1 | 1 << 19}, KERNEL, 0, SOUND, KR | KW),
    (ARM64 | {"sctlr_el1": 1 | 1 << 19}, KR | KX | UR | UX, 0, SOUND, KR | KX | UR | UX),
    (ARM64 | {"pstate": 1 << 22}, KR | KX | UR | UX, 0, SOUND, KX | UR | UX),
    (ARM64 | {"cpsr": 1 << 22}, USERS, 0, SOUND, UR | UW | UX),
    (ARM64 | {"pan": 1 << 22}, KERNEL | UX, 0, SOUND, KERNEL | UX),
    (ARM64 | {"pan": 1 << 22, "sctlr_el1": 1 | 1 << 57}, KERNEL | UX, 0, SOUND, KX | UX),
    # D8.5.1: TCR_EL1.HA
    (ARM64, KERNEL, 0, Flag.DIRTY, Rights(0)),
    (ARM64 | {"tcr_el1": 25 | 1 << 39}, KERNEL, 0, Flag.DIRTY, KERNEL),
    (ARM64, KERNEL, 0, Flag.ACCESSED, KERNEL),
    # RISC-V privileged, "Memory Privilege in mstatus Register"
    (RISCV, USERS & ~KX, 0, SOUND, USERS & ~KX),
    (RISCV | {"sstatus": 0}, USERS & ~KX, 0, SOUND, UR | UW | UX),
    (RISCV | {"sstatus": 1 << 18}, USERS & ~KX, 0, SOUND, USERS & ~KX),
    (RISCV | {"sstatus": 1 << 19}, KX, 0, SOUND, KR | KX),
    (RISCV | {"sstatus": 1 << 19}, UX, 0, SOUND, UR | UX),
    (RISCV | {"sstatus": 3 << 18}, UX, 0, SOUND, KR | UR | UX),
    (RISCV | {"sstatus": 0}, KERNEL, 0, SOUND, KERNEL),
    # "Virtual Address Translation Process", step 9: Svade, unless menvcfg.ADUE
    (RISCV, KERNEL, 0, Flag.DIRTY, Rights(0)),
    (RISCV, KERNEL, 0, Flag.ACCESSED, KR | KX),
    (RISCV | {"menvcfg": 1 << 61}, KERNEL, 0, Flag(0), KERNEL),
]


class TestRules:
    @pytest.mark.parametrize(("registers", "rights", "key", "flags", "wanted"), CASES)
    def test_what_goes_through(self, registers, rights, key, flags, wanted):
        assert allowed(rules(registers), rights, key, flags) == wanted

    @pytest.mark.parametrize("registers", [one[0] for one in CASES])
    def test_arrays_say_the_same(self, registers):
        """Of all rights, ages and keys."""
        access = rules(registers)
        rights = np.arange(64, dtype=np.uint8)
        for right in ACCESSES.values():
            table = permitted(access, int(right))
            for key in range(16):
                for flags in (0, Flag.ACCESSED, Flag.DIRTY, SOUND):
                    found = table[code_of(rights, int(flags) | key << 19)]
                    one = [access.decide(right, some, key, int(flags)).allowed for some in range(64)]
                    assert found.tolist() == one

    def test_hardware_makes_clean_pages_writable(self):
        """Arm ARM D8.5.2: with TCR_EL1.HD a write to a page with DBM set clears AP[2]."""
        clean = 1 << 51 | 1 << 10 | 1 << 7 | 1 << 6 | 3
        for tcr, wanted in ((25, KR | UR), (25 | 1 << 40, KR | KW | UR | UW)):
            level = from_registers(ARM64 | {"tcr_el1": tcr}).format.last
            assert Rights(level.decode(clean).rights) & ~(KX | UX) == wanted

    def test_a_format_with_hardware_dirty_is_sound(self):
        check_format(from_registers(ARM64 | {"tcr_el1": 25 | 1 << 40}).format)

    def test_every_rule_says_what_and_where(self):
        for registers, *_ in CASES:
            access = rules(registers)
            for rule in (*access.rules, *access.checks):
                assert rule.why, rule
                assert rule.source, rule


class TestRefused:
    @pytest.mark.parametrize(
        ("registers", "says"),
        [
            (ARM64 | {"pan": 1}, "pan 0x1 is no value of PAN: that is 0x400000"),
            (ARM64 | {"sctlr_el1": 0}, "sctlr_el1 0x0 says that translation is off"),
            (ARM64 | {"tcr2_el1": 1 << 1}, r"tcr2_el1 0x2 has PIE \(bit 1\): rights follow from permission indexes"),
            (ARM64 | {"tcr2_el1": 1 << 2}, r"tcr2_el1 0x4 has E0POE \(bit 2\): overlays take rights"),
            (ARM64 | {"tcr2_el1": 1 << 3, "por_el1": 7}, r"has POE \(bit 3\)"),
            (ARM64 | {"tcr2_el1": 1 << 5}, r"has D128 \(bit 5\): entries have 16 bytes"),
            (ARM64 | {"tcr2_el1": 1 << 4}, r"has AIE \(bit 4\): memory types"),
            (ARM64 | {"tcr2_el1": 1}, r"has PnCH \(bit 0\)"),
            (ARM64 | {"tcr2_el1": 1 << 15}, r"has DisCH1 \(bit 15\): entries of TTBR1_EL1 have no contiguous bit"),
            (ARM64 | {"pire0_el1": 7}, "pire0_el1 matters by what tcr2_el1 says: give that as well, or leave"),
        ],
    )
    def test_registers(self, registers, says):
        with pytest.raises(UnsupportedError, match=says):
            from_registers(registers)

    @pytest.mark.parametrize("wrong", ["user", "user-wriet", "USER-READ", "", None, 3])
    def test_accesses(self, wrong):
        with pytest.raises(ValueError, match=r"access is one of 'user-read', 'user-write', .*, not ") as caught:
            right_of(wrong)
        assert "\n" not in str(caught.value)


class TestLetters:
    """``x``: whoever may access may execute; ``X``: only the kernel. The letters are the user's where it has rights."""

    @pytest.mark.parametrize(
        ("rights", "letters"),
        [
            (USERS, "rwxu"),
            (USERS & ~KX, "rwxu"),
            (USERS & ~UX, "rwXu"),
            (USERS & ~(KX | UX), "rw-u"),
            (KERNEL, "rwx-"),
            (KR | KX, "r-x-"),
            (KR, "r---"),
            (KR | KW | UX, "--xu"),
            (KR | KX | UR, "r-Xu"),
            (Rights(0), "----"),
        ],
    )
    def test_letters(self, rights, letters):
        assert rights_text(int(flags_of(int(rights)))) == letters

    @pytest.mark.parametrize(
        ("registers", "entry", "letters"),
        [
            (X86, 0x67, "rwxu"),  # SDM 5.6.1
            (X86 | {"cr4": 3 << 20 | 0x20}, 0x67, "rwxu"),  # nobody loses what the user has
            (X86, 1 << 63 | 0x67, "rw-u"),
            (X86, 0x63, "rwx-"),
            (ARM64, 0x443, "rwxu"),  # Arm ARM D8.4.1: AP = 01
            (ARM64, 1 << 54 | 0x443, "rw-u"),  # what EL0 may write EL1 does not execute
            (ARM64, 1 << 54 | 0x4C3, "r-Xu"),  # AP = 11, UXN
            (ARM64, 3 << 53 | 0x4C3, "r--u"),
            (ARM64, 1 << 54 | 0x403, "rwx-"),
            (ARM64 | {"sctlr_el1": 1 | 1 << 19}, 1 << 54 | 0x403, "rw--"),
            (RISCV, 0xDF, "rwxu"),  # U: supervisor mode never executes it
            (RISCV, 0xD9, "--xu"),
            (RISCV, 0xCB, "r-x-"),
            (RISCV | {"sstatus": 1 << 19}, 0xD9, "r-xu"),  # MXR
        ],
    )
    def test_pages_of_every_architecture(self, registers, entry, letters):
        level = from_registers(registers).format.last
        assert rights_text(int(level.flags(entry))) == letters
        assert rights_text(int(level.flags(np.array([entry, 0], np.uint64))[0])) == letters
        assert rights_text(int(level.effective(entry, int(Rights.all())))) == letters


class TestMemoryTypes:
    def test_pat(self):
        """SDM table 13-10; the value after reset (13.12.4), and one with a reserved type."""
        found = from_registers(X86 | {"pat": 0x0007_0406_0007_0406}).format.memory_types
        assert found == ("WB", "WT", "UC-", "UC", "WB", "WT", "UC-", "UC")
        assert from_registers(X86 | {"pat": 0x0502}).format.memory_types[:2] == ("type 2", "WP")
        assert from_registers(X86).format.memory_types == ()

    def test_mair(self):
        """Arm ARM D24.2, MAIR_EL1; Linux's own value is 0x..40044ff-like: normal, non-cacheable, devices."""
        value = int.from_bytes(bytes([0xFF, 0x44, 0x00, 0x04, 0x0C, 0xBB, 0xF0, 0x4F]), "little")
        assert from_registers(ARM64 | {"mair_el1": value}).format.memory_types == (
            "normal write-back",
            "normal non-cacheable",
            "device nGnRnE",
            "device nGnRE",
            "device GRE",
            "normal write-through",
            "normal tagged write-back",
            "normal, outer non-cacheable, inner write-back",
        )

    def test_svpbmt(self):
        assert from_registers(RISCV).format.memory_types == ("", "NC", "IO")

    def test_what_is_off_is_no_reason(self):
        """Registers of schemes that TCR2_EL1 leaves off say nothing, nor do its other bits (PTTWI, HAFT, FNG0)."""
        more = {"tcr2_el1": 1 << 10 | 1 << 11 | 1 << 17, "pir_el1": 3, "pire0_el1": 3, "por_el0": 7}
        assert from_registers(ARM64 | more) == from_registers(ARM64)


LASS, SMAP, PAE = 1 << 27, 1 << 21, 0x20
E0PD0, E0PD1 = 1 << 55, 1 << 56
TWO = ARM64 | {"ttbr1_el1": 0x1000, "tcr_el1": 25 | 25 << 16 | 2 << 30 | 1 << 39}


class TestByAddress:
    """LASS (CR4 bit 27) and E0PD (TCR_EL1 bits 55 and 56) refuse accesses by the half that an address is of."""

    @pytest.mark.parametrize(
        ("registers", "user", "kernel"),
        [
            (X86, Rights(0), Rights(0)),
            (X86 | {"cr4": PAE | LASS}, KX, UR | UW | UX),
            (X86 | {"cr4": PAE | LASS | SMAP}, KR | KW | KX, UR | UW | UX),
            (X86 | {"cr4": PAE | SMAP}, Rights(0), Rights(0)),
            (TWO, Rights(0), Rights(0)),
            (TWO | {"tcr_el1": TWO["tcr_el1"] | E0PD0}, UR | UW | UX, Rights(0)),
            (TWO | {"tcr_el1": TWO["tcr_el1"] | E0PD1}, Rights(0), UR | UW | UX),
        ],
    )
    def test_halves(self, registers, user, kernel):
        for window, wanted in zip(from_registers(registers).windows, (user, kernel), strict=True):
            barred = [right for right in ACCESSES.values() if window.bars(right)]
            assert sum(barred) == wanted

    @pytest.mark.parametrize("many", [1, 300])
    def test_no_page_is_reached(self, tmp_path, many):
        """One by one, as arrays, and by the compiled kernels, whatever the page grants."""
        image = bytearray(5 * 4096)
        for table, slot, below in ((1, 0, 2), (1, 256, 2), (2, 0, 3), (3, 0, 4), (4, 0, 0)):
            at = table * 4096 + slot * 8
            image[at : at + 8] = (below << 12 | 0x67).to_bytes(8, "little")
        path = tmp_path / "image"
        path.write_bytes(image)
        tables = pw.open(path, registers={"cr3": 0x1000, "cr4": PAE | LASS | SMAP})
        low, high = [0] * many, [0xFFFF_8000_0000_0000] * many
        for access, right in ACCESSES.items():
            _, mapped = pw.translate(tables, low + high, access=access)
            in_users, in_kernels = mapped[:many], mapped[many:]
            assert in_users.all() == in_users.any() == bool(right & (UR | UW | UX))
            assert not in_kernels.any() or right & KX  # SMAP keeps the kernel from the user's page
            for vaddr, there in ((low[0], in_users), (high[0], in_kernels)):
                verdict = judge(list(tables.steps(vaddr)), access, tables.window_of(vaddr))
                assert verdict.allowed == there[0], (access, hex(vaddr))
