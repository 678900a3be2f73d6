"""Intel SDM vol. 3A, chapter 5: 4-level and 5-level paging, with IA32_EFER.NXE and CR0.WP set."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.found import Decoded, Read, Rights, Walker, depths

PAGE = 4096
EVERYTHING = (1 << 64) - 1
ADDRESS = 0x000F_FFFF_FFFF_F000  # bits 51:12

# SDM 5.5.4: which bits of a linear address select the entry, by the kernel's depth: 0 PML5 (or PML4) .. 4 PT.
SHIFT_OF = {4: (39, 39, 30, 21, 12), 5: (48, 39, 30, 21, 12)}
NAMES = {48: "PML5E", 39: "PML4E", 30: "PDPTE", 21: "PDE", 12: "PTE"}


def canonical(vaddr: int, levels: int) -> bool:
    """SDM 5.5.4 and vol. 1, 3.3.7.1: bits 63:47 (63:56 with 5 levels) are all equal."""
    top = vaddr >> (47 if levels == 4 else 56)
    return top in (0, 0x1FFFF if levels == 4 else 0xFF)


@dataclass(frozen=True)
class Hardware(Walker):
    """The paging structures as the processor reads them."""

    levels: int = 4
    physical_bits: int = 52
    encryption: int = 0
    """AMD APM vol. 2, 15.34.5: the C-bit is no bit of an address, and not reserved."""

    def depths(self) -> list[int]:
        return depths(self.levels)

    def shifts(self) -> list[int]:
        """SDM 5.5.4: 9 bits a level above the 12 of a page."""
        return [48, 39, 30, 21, 12][5 - self.levels :]

    def entries(self, shift: int) -> int:
        return 512

    def pages(self, shift: int) -> bool:
        return shift <= 30

    def empty(self, raw: int) -> bool:
        """Linux leaves stray A and D bits out of account (the Xeon Phi erratum)."""
        return raw & ~0x60 == 0

    def decode(self, shift: int, raw: int) -> Decoded:
        """SDM tables 5-15 to 5-20."""
        if not raw & 1:
            return Decoded("invalid")
        leaf = shift == 12 or (self.pages(shift) and raw & 0x80 != 0)
        if raw & self.must_be_zero(shift, leaf):
            return Decoded("reserved")
        write, user, run = bool(raw & 2), bool(raw & 4), not raw >> 63
        rights = Rights(True, write, run, user, user and write, user and run)  # SDM 5.6.1
        if not leaf:
            return Decoded("table", raw & ADDRESS & ~self.encryption, rights)
        pat = raw >> (7 if shift == 12 else 12) & 1
        return Decoded(
            "leaf",
            raw & ADDRESS & ~self.encryption & (EVERYTHING << shift),
            rights,
            accessed=bool(raw & 0x20),
            dirty=bool(raw & 0x40),
            global_=bool(raw & 0x100),
            memory=pat << 2 | raw >> 3 & 3,  # SDM 5.9.2: PAT, PCD, PWT
            key=raw >> 59 & 15,  # SDM 5.6.2
        )

    def must_be_zero(self, shift: int, leaf: bool) -> int:
        """Reserved bits: above MAXPHYADDR, PS in PML5E and PML4E, and the address bits under a large page."""
        above = (1 << 52) - (1 << self.physical_bits) & ~self.encryption
        if shift > 30:
            return above | 0x80
        if leaf and shift == 30:
            return above | 0x3FFF_E000  # bits 29:13
        if leaf and shift == 21:
            return above | 0x001F_E000  # bits 20:13
        return above


def from_registers(read: Read, cr3: int, cr4: int) -> list[tuple[int, int, Walker]]:
    """SDM 5.5: CR4.LA57 (bit 12) makes five levels; CR3 bits 51:12 are the root of both halves."""
    levels = 5 if cr4 >> 12 & 1 else 4
    walker, half = Hardware(read, cr3 & ADDRESS, levels), 1 << (56 if levels == 5 else 47)
    return [(0, half, walker), ((1 << 64) - half, 1 << 64, walker)]
