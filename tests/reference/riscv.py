"""RISC-V privileged architecture, chapter "Supervisor-Level ISA": Sv39, Sv48, Sv57; Svnapot, Svpbmt, Svrsw60t59b."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.found import EVERY_RIGHT, Decoded, Read, Rights, Walker

MODES = {8: 3, 9: 4, 10: 5}  # satp.MODE: Sv39, Sv48, Sv57, as numbers of levels
R, W, X, U, G, A, D = (1 << at for at in range(1, 8))


@dataclass(frozen=True)
class RiscV(Walker):
    """The tables behind ``satp``."""

    levels: int = 3
    svnapot: bool = True
    svpbmt: bool = True
    svrsw60t59b: bool = False

    def shifts(self) -> list[int]:
        """9 bits a level above the 12 of a page."""
        return [48, 39, 30, 21, 12][5 - self.levels :]

    def entries(self, shift: int) -> int:
        return 512

    def pages(self, shift: int) -> bool:
        return True

    def decode(self, shift: int, raw: int) -> Decoded:
        """Step 3 to 5 of "Virtual Address Translation Process"."""
        if not raw & 1:
            return Decoded("invalid")
        if (raw & W and not raw & R) or raw & self.must_be_zero():
            return Decoded("reserved")
        number = raw >> 10 & (1 << 44) - 1  # PPN, bits 53:10
        napot, memory = raw >> 63 & 1, raw >> 61 & 3
        if memory == 3:  # "Svpbmt": 3 is reserved
            return Decoded("reserved")
        if not raw & (R | X):
            # "For non-leaf PTEs, the D, A, and U bits are reserved", so are N and PBMT; the last level has no tables
            if shift == 12 or raw & (D | A | U) or napot or memory:
                return Decoded("reserved")
            return Decoded("table", number << 12, EVERY_RIGHT, global_=bool(raw & G))
        if number & (1 << (shift - 12)) - 1:  # "misaligned superpage"
            return Decoded("reserved")
        order = 0
        if napot:
            # "Svnapot": of all encodings only pte.ppn[0] = xxxxx1000 at the last level is defined: 64 KiB
            if shift != 12 or number & 15 != 8:
                return Decoded("reserved")
            order, number = 4, number & ~15
        return Decoded(
            "leaf",
            number << 12,
            self.rights(raw),
            accessed=bool(raw & A),
            dirty=bool(raw & D),
            global_=bool(raw & G),
            memory=memory,
            order=order,
            from_vaddr=16 if napot else 0,
        )

    def must_be_zero(self) -> int:
        """Bits 60:54 are reserved, of them 60:59 without Svrsw60t59b; N (63) and PBMT (62:61) without theirs."""
        reserved = (0x1F if self.svrsw60t59b else 0x7F) << 54
        return reserved | (0 if self.svnapot else 1 << 63) | (0 if self.svpbmt else 3 << 61)

    def rights(self, raw: int) -> Rights:
        """The U bit: user mode needs it; supervisor mode reads and writes there (SUM), but never executes."""
        read, write, run, user = (bool(raw & bit) for bit in (R, W, X, U))
        return Rights(read, write, run and not user, read and user, write and user, run and user)


@dataclass(frozen=True)
class Sv32(Walker):
    """The tables behind a 32-bit ``satp``: 10 bits a level, PTEs of 4 bytes, PPN in bits 31:10."""

    word = 4

    def shifts(self) -> list[int]:
        """VPN[1] is 31:22, VPN[0] is 21:12."""
        return [22, 12]

    def entries(self, shift: int) -> int:
        return 1024

    def pages(self, shift: int) -> bool:
        return True

    def decode(self, shift: int, raw: int) -> Decoded:
        """As with 64 bits, but that neither Svnapot nor Svpbmt has room, and no bit is reserved."""
        if not raw & 1:
            return Decoded("invalid")
        if raw & W and not raw & R:
            return Decoded("reserved")
        number = raw >> 10
        if not raw & (R | X):
            if shift == 12 or raw & (D | A | U):
                return Decoded("reserved")
            return Decoded("table", number << 12, EVERY_RIGHT, global_=bool(raw & G))
        if shift == 22 and number & 1023:  # "misaligned superpage"
            return Decoded("reserved")
        bits = (bool(raw & bit) for bit in (A, D, G))
        accessed, dirty, global_ = bits
        rights = RiscV.rights(RiscV(self.read, self.root), raw)
        return Decoded("leaf", number << 12, rights, accessed, dirty, global_)


def from_registers(read: Read, satp: int) -> list[tuple[int, int, Walker]]:
    """``satp``: MODE 63:60, ASID 59:44, PPN 43:0. Addresses are sign-extended from the highest bit translated."""
    levels = MODES[satp >> 60]
    half = 1 << (12 + 9 * levels - 1)
    walker = RiscV(read, (satp & (1 << 44) - 1) << 12, levels)
    return [(0, half, walker), ((1 << 64) - half, 1 << 64, walker)]
