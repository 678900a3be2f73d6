"""Processors: their control registers by chance, and their own page walk at either privilege.

What Unicorn 2.1.4 (QEMU 5.0.1) does not have is left as it is without it:

* x86: PKRS (CR4.PKS, SDM 5.6.2), and bits of CR4 that have no part in rights.
* arm64: TCR_EL1.HA and HD (D8.5) are ignored, SCTLR_EL1.EPAN (D8.4.1) too: they stay clear.
* RISC-V: a page that was read may be executed from the TLB (``TestWhereUnicornIsWrong``). There is no ``menvcfg``, and
  the hardware sets A and D ("virtual address translation process", step 9, Svadu): ADUE is set. Svnapot and Svpbmt are
  unknown, and of a table A, D and U are not looked at: they stay clear.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from unicorn import (
    UC_ARCH_ARM64,
    UC_ARCH_RISCV,
    UC_ARCH_X86,
    UC_MODE_64,
    UC_MODE_ARM,
    UC_MODE_RISCV64,
    UC_PROT_EXEC,
    UC_PROT_READ,
    UC_PROT_WRITE,
    UC_TLB_CPU,
    arm64_const,
    riscv_const,
    x86_const,
)
from unicorn.unicorn_py3.unicorn import Uc, uclib

from tests.unicorn.world import SIZE

if TYPE_CHECKING:
    from random import Random

    from tests.unicorn.world import World

PROTECTION = {"read": UC_PROT_READ, "write": UC_PROT_WRITE, "execute": UC_PROT_EXEC}


def chance(rng: Random, *places: int) -> int:
    """Bits, each set or not."""
    return sum(rng.getrandbits(1) << place for place in places)


class Machine:
    """A processor that has been given a world, at one privilege."""

    base: ClassVar[int]

    def __init__(self, registers: dict[str, int], world: World, *, user: bool) -> None:
        self.engine: Any = self.made()
        self.engine.ctl_set_tlb_mode(UC_TLB_CPU)  # the CPU's own page walk, not the emulator's flat map
        self.engine.mem_map(self.base, SIZE)
        self.engine.mem_write(self.base, world.ram.read(self.base, SIZE))
        self.start(registers, user)

    def made(self) -> Any:
        raise NotImplementedError

    def start(self, registers: dict[str, int], user: bool) -> None:
        raise NotImplementedError

    def look(self, vaddr: int, what: str) -> int | None:
        """Where an access goes; None: it faults."""
        paddr = ctypes.c_uint64()
        how = ctypes.c_uint64(vaddr), ctypes.c_uint32(PROTECTION[what]), ctypes.byref(paddr)
        return None if uclib.uc_vmem_translate(self.engine._uch, *how) else paddr.value


class X86(Machine):
    """x86-64. Privilege and PKRU are changed by instructions, so it starts on tables of its own."""

    base = 0
    roots = (0x1000,)
    BOOT = 0x1000_0000
    CODE = bytes.fromhex("0f01ef480f07")  # wrpkru; sysretq
    CR0, CR4, EFER = 1 << 31 | 1, 1 << 5, 1 | 1 << 8 | 1 << 10  # PG, PE; PAE; SCE, LME, LMA

    @classmethod
    def registers(cls, rng: Random, levels: int) -> dict[str, int]:
        cr4 = cls.CR4 | (1 << 12 if levels == 5 else 0) | chance(rng, 20, 21, 22)  # SMEP, SMAP, PKE
        cr0, efer = cls.CR0 | chance(rng, 16), cls.EFER | rng.choice((1, 1, 1, 0)) << 11  # WP, NXE
        return {"cr0": cr0, "cr3": cls.roots[0], "cr4": cr4, "efer": efer, "pkru": rng.getrandbits(32)}

    def made(self) -> Any:
        machine: Any = Uc(UC_ARCH_X86, UC_MODE_64)
        machine.ctl_set_cpu_model(x86_const.UC_CPU_X86_ICELAKE_SERVER)
        return machine

    def start(self, registers: dict[str, int], user: bool) -> None:
        engine, five = self.engine, registers["cr4"] & 1 << 12
        engine.mem_map(self.BOOT, 0x8000)
        tables = [self.BOOT + 0x1000 * at for at in range(6 if five else 5)]  # the last one is the page of code
        for table, below in pairwise(tables):
            engine.mem_write(table, (below | 7).to_bytes(8, "little"))
        engine.mem_write(tables[-1], self.CODE)
        engine.msr_write(0xC000_0080, self.EFER)
        engine.msr_write(0xC000_0081, 0x13_0008 << 32)  # STAR: the selectors of sysretq
        self._control(self.CR0, self.BOOT, self.CR4 | five | 1 << 22)
        engine.reg_write(x86_const.UC_X86_REG_RAX, registers["pkru"])
        engine.reg_write(x86_const.UC_X86_REG_R11, 2)
        engine.emu_start(0, 6, count=2 if user else 1)
        engine.msr_write(0xC000_0080, registers["efer"])
        self._control(registers["cr0"], registers["cr3"], registers["cr4"])

    def _control(self, cr0: int, cr3: int, cr4: int) -> None:
        for register, value in (
            (x86_const.UC_X86_REG_CR4, cr4),
            (x86_const.UC_X86_REG_CR0, cr0),
            (x86_const.UC_X86_REG_CR3, cr3),  # last: it empties the TLB
        ):
            self.engine.reg_write(register, value)


class Arm64(Machine):
    """arm64, EL1 and EL0. Privilege and PAN are changed by ERET, with translation off."""

    base = 0x4000_0000
    roots = (0x4000_1000, 0x4000_2000)
    CODE = bytes.fromhex("004018d5214018d5e0039fd6")  # msr spsr_el1, x0; msr elr_el1, x1; eret
    BOOT = 0x10_0000_0000  # away from all virtual addresses: what it executes stays in the TLB
    TCR = 1 << 32 | 2 << 30  # 36-bit addresses, 4 KiB granules
    SYSTEM: ClassVar = {"tcr_el1": (3, 0, 2, 0, 2), "ttbr0_el1": (3, 0, 2, 0, 0), "ttbr1_el1": (3, 0, 2, 0, 1)}

    @classmethod
    def registers(cls, rng: Random, bits: int) -> dict[str, int]:
        flat = rng.choice((0, 0, 0, 3)) << 41  # HPD0, HPD1
        return {
            "tcr_el1": cls.TCR | (64 - bits) | (64 - bits) << 16 | flat,
            "ttbr0_el1": cls.roots[0],
            "ttbr1_el1": cls.roots[1],
            "sctlr_el1": 0xC5_0839 & ~(1 << 19) | chance(rng, 19),  # WXN
            "pstate": chance(rng, 22),  # PAN
        }

    def made(self) -> Any:
        machine: Any = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        machine.ctl_set_cpu_model(arm64_const.UC_CPU_ARM64_MAX)
        return machine

    def start(self, registers: dict[str, int], user: bool) -> None:
        engine = self.engine
        self._write((3, 6, 1, 1, 0), 1 << 10 | 1)  # SCR_EL3: EL2 and EL1 are AArch64, not secure;
        self._write((3, 4, 1, 1, 0), 1 << 31)  # HCR_EL2: else tables are walked by the rules of AArch32
        engine.mem_map(self.BOOT, 0x1000)
        engine.mem_write(self.BOOT, self.CODE)
        engine.reg_write(arm64_const.UC_ARM64_REG_X0, registers["pstate"] | (0 if user else 5))
        engine.reg_write(arm64_const.UC_ARM64_REG_X1, self.BOOT)
        engine.emu_start(self.BOOT, self.BOOT + 0x100, count=3)
        self._write((3, 0, 10, 2, 0), 0xFF)  # MAIR_EL1
        for name, register in self.SYSTEM.items():
            self._write(register, registers.get(name, 0))
        self._write((3, 0, 1, 0, 0), registers["sctlr_el1"])

    def _write(self, register: tuple[int, int, int, int, int], value: int) -> None:
        op0, op1, crn, crm, op2 = register
        self.engine.reg_write(arm64_const.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2, value))


class RiscV(Machine):
    """RISC-V, S-mode and U-mode."""

    base = 0x8000_0000
    roots = (0x8000_1000,)
    MODES: ClassVar = {3: 8, 4: 9, 5: 10}

    @classmethod
    def registers(cls, rng: Random, levels: int) -> dict[str, int]:
        satp = cls.MODES[levels] << 60 | cls.roots[0] >> 12
        return {"satp": satp, "sstatus": chance(rng, 18, 19), "menvcfg": 1 << 61}  # SUM, MXR; ADUE

    def made(self) -> Any:
        return Uc(UC_ARCH_RISCV, UC_MODE_RISCV64)

    def start(self, registers: dict[str, int], user: bool) -> None:
        self.engine.reg_write(riscv_const.UC_RISCV_REG_SATP, registers["satp"])
        self.engine.reg_write(riscv_const.UC_RISCV_REG_MSTATUS, registers["sstatus"])
        self.engine.reg_write(riscv_const.UC_RISCV_REG_PRIV, 0 if user else 1)
