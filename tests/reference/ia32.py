"""Intel SDM vol. 3A, chapter 5: 32-bit paging (5.3) with CR4.PSE and PSE-36, and PAE paging (5.4) with EFER.NXE."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.found import EVERY_RIGHT, Decoded, Read, Rights, Walker

TOP = (1 << 52) - (1 << 12)  # bits 51:12


def rights(raw: int, *, execute: bool) -> Rights:
    """SDM 5.6.1: R/W is bit 1, U/S bit 2."""
    write, user = bool(raw & 2), bool(raw & 4)
    return Rights(True, write, execute, user, user and write, user and execute)


def leaf(raw: int, frame: int, pat: int, granted: Rights) -> Decoded:
    """What pages of both modes have alike: A, D, G (tables 5-4, 5-6, 5-9, 5-11), and PAT, PCD, PWT (5.9.2)."""
    return Decoded(
        "leaf",
        frame,
        granted,
        accessed=bool(raw & 0x20),
        dirty=bool(raw & 0x40),
        global_=bool(raw & 0x100),
        memory=pat << 2 | raw >> 3 & 3,
    )


@dataclass(frozen=True)
class TwoLevels(Walker):
    """32-bit paging: a directory and page tables of 1024 entries with 4 bytes each."""

    word = 4
    physical_bits: int = 40
    pse: bool = True

    def shifts(self) -> list[int]:
        """SDM 5.3: bits 31:22 select the PDE, 21:12 the PTE."""
        return [22, 12]

    def entries(self, shift: int) -> int:
        return 1024

    def pages(self, shift: int) -> bool:
        return self.pse or shift == 12

    def decode(self, shift: int, raw: int) -> Decoded:
        """Tables 5-4 to 5-6."""
        if not raw & 1:
            return Decoded("invalid")
        granted = rights(raw, execute=True)
        if shift == 12:
            return leaf(raw, raw & 0xFFFF_F000, raw >> 7 & 1, granted)
        if not (self.pse and raw & 0x80):
            return Decoded("table", raw & 0xFFFF_F000, granted)
        # table 5-4: bits (M-20):13 are bits (M-1):32 of the address, 21:(M-19) must be 0
        above = raw >> 13 & 0x1FF
        if above >> (self.physical_bits - 32):
            return Decoded("reserved")
        return leaf(raw, above << 32 | raw & 0xFFC0_0000, raw >> 12 & 1, granted)


@dataclass(frozen=True)
class Pae(Walker):
    """PAE paging: four PDPTEs, then tables of 512 entries, 8 bytes each."""

    physical_bits: int = 52

    def shifts(self) -> list[int]:
        """SDM 5.4: bits 31:30 select the PDPTE, 29:21 the PDE, 20:12 the PTE."""
        return [30, 21, 12]

    def entries(self, shift: int) -> int:
        return 4 if shift == 30 else 512

    def pages(self, shift: int) -> bool:
        return shift < 30

    def empty(self, raw: int) -> bool:
        """Linux leaves stray A and D bits out of account (the Xeon Phi erratum)."""
        return raw & ~0x60 == 0

    def decode(self, shift: int, raw: int) -> Decoded:
        """Tables 5-8 to 5-11."""
        if not raw & 1:
            return Decoded("invalid")
        above = raw >> self.physical_bits << self.physical_bits
        if shift == 30:
            # 2:1, 8:5 and 63:MAXPHYADDR must be 0; but QEMU's TCG sets bit 5, as if it were accessed
            return Decoded("reserved") if raw & 0x1C6 or above else Decoded("table", raw & TOP, EVERY_RIGHT)
        if above & ~(1 << 63):
            return Decoded("reserved")
        granted = rights(raw, execute=not raw >> 63)
        if shift == 12:
            return leaf(raw, raw & TOP, raw >> 7 & 1, granted)
        if not raw & 0x80:
            return Decoded("table", raw & TOP, granted)
        if raw & 0x1F_E000:  # 20:13
            return Decoded("reserved")
        return leaf(raw, raw & TOP & ~0x1F_FFFF, raw >> 12 & 1, granted)


def from_registers(read: Read, cr3: int, cr4: int) -> Walker:
    """Tables 5-3 and 5-7: with CR4.PAE (bit 5) the root is CR3 bits 31:5, else 31:12; CR4.PSE is bit 4."""
    if cr4 >> 5 & 1:
        return Pae(read, cr3 & 0xFFFF_FFE0)
    return TwoLevels(read, cr3 & 0xFFFF_F000, pse=bool(cr4 >> 4 & 1))
