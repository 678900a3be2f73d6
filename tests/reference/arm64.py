"""Arm ARM (DDI 0487) D8: stage 1 of VMSAv8-64, 4, 16 and 64 KiB granules, with 52-bit addresses (LPA2, LPA).

Left out, and so ignored: FEAT_S1PIE, FEAT_S1POE, FEAT_D128, the NS bits, GP. RES0 bits are ignored as well: no
implementation faults on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.found import Decoded, Read, Rights, Walker

GRANULES_0 = {0: 12, 1: 16, 2: 14}  # TCR_EL1.TG0
GRANULES_1 = {1: 14, 2: 12, 3: 16}  # TCR_EL1.TG1
SIZES = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52}  # TCR_EL1.IPS


@dataclass(frozen=True)
class Arm64(Walker):
    """The tables behind one TTBR.

    ``page_shift`` is the granule, ``bits`` the width of the window (64 - TxSZ), ``ds`` TCR.DS (LPA2), ``lpa`` 52-bit
    addresses with the 64 KiB granule, ``hierarchical`` false with TCR.HPDx, ``hardware_dirty`` TCR.HD.
    """

    page_shift: int = 12
    bits: int = 48
    ds: bool = False
    lpa: bool = False
    hierarchical: bool = True
    hardware_dirty: bool = False

    def shifts(self) -> list[int]:
        """D8.2.5: each level resolves as many bits as a table of one granule has entries; the first what is left."""
        step = self.page_shift - 3
        return list(range(self.page_shift, self.bits, step))[::-1]

    def entries(self, shift: int) -> int:
        top = self.shifts()[0]
        return 1 << (self.bits - top if shift == top else self.page_shift - 3)

    def level(self, shift: int) -> int:
        """The manual's level: 3 is the last, -1 the first of 52 bits with 4 KiB."""
        return 3 - (shift - self.page_shift) // (self.page_shift - 3)

    def pages(self, shift: int) -> bool:
        """D8.3.1: pages at level 3, and where bits 1:0 = 01 are a block; elsewhere those are reserved."""
        level = self.level(shift)
        if level == 3:
            return True
        if self.page_shift == 12:
            return level in (1, 2) or (level == 0 and self.ds)
        if self.page_shift == 14:
            return level == 2 or (level == 1 and self.ds)
        return level == 2 or (level == 1 and self.lpa)

    def address(self, raw: int, shift: int) -> int:
        """D8.3.1: bits 47:n; under DS 49:n and bits 9:8 for 51:50; under LPA bits 15:12 for 51:48."""
        top = 50 if self.ds else 48
        base = raw & ((1 << top) - (1 << shift))
        if self.ds:
            base |= (raw >> 8 & 3) << 50
        if self.lpa:
            base |= (raw >> 12 & 15) << 48
        return base

    def decode(self, shift: int, raw: int) -> Decoded:
        """D8.3.1.1 and D8.3.1.2: bit 0 is valid, bit 1 table (page, at the last level)."""
        if not raw & 1:
            return Decoded("invalid")
        last = shift == self.page_shift
        if raw & 2:
            if not last:
                return Decoded("table", self.address(raw, self.page_shift), self.table_rights(raw))
        elif last or not self.pages(shift):
            return Decoded("reserved")
        rights = self.page_rights(raw)
        return Decoded(
            "leaf",
            self.address(raw, shift),
            rights,
            accessed=bool(raw >> 10 & 1),  # AF
            dirty=bool(raw >> 51 & 1) and not raw >> 7 & 1,  # D8.5.2: DBM and AP[2] clear
            global_=not raw >> 11 & 1,  # nG
            memory=raw >> 2 & 7,  # AttrIndx
            order=self.group(shift) if raw >> 52 & 1 else 0,
        )

    def group(self, shift: int) -> int:
        """D8.7.1: log2 of the entries that one contiguous group spans; none at the levels not named."""
        return {(12, 3): 4, (12, 2): 4, (12, 1): 4, (14, 3): 7, (14, 2): 5, (16, 3): 5, (16, 2): 5}.get(
            (self.page_shift, self.level(shift)), 0
        )

    def page_rights(self, raw: int) -> Rights:
        """D8.4.1: AP[2] (bit 7) is read-only, AP[1] (bit 6) lets EL0 in; UXN is bit 54, PXN bit 53."""
        user, write = bool(raw >> 6 & 1), not raw >> 7 & 1
        if self.hardware_dirty and raw >> 51 & 1:
            write = True  # D8.5.2: writable-clean: the write makes it dirty and goes on
        return Rights(True, write, not raw >> 53 & 1, user, user and write, not raw >> 54 & 1)

    def table_rights(self, raw: int) -> Rights:
        """D8.4.2: APTable 62:61, UXNTable 60, PXNTable 59 take rights away from everything below."""
        if not self.hierarchical:
            raw = 0
        user, write = not raw >> 61 & 1, not raw >> 62 & 1
        return Rights(True, write, not raw >> 59 & 1, user, user and write, not raw >> 60 & 1)

    def granted(self, rights: Rights) -> Rights:
        """D8.4.1: what EL0 may write, EL1 does not execute."""
        return rights._replace(kernel_execute=rights.kernel_execute and not rights.user_write)


def from_registers(read: Read, ttbr0: int, ttbr1: int, tcr: int) -> list[tuple[int, int, Walker]]:
    """D24.2: TCR_EL1 and the TTBRs: two windows, each with its own width and root."""
    windows: list[tuple[int, int, Walker]] = []
    for ttbr, size_at, granules, granule_at, disable, no_tables, upper in (
        (ttbr0, 0, GRANULES_0, 14, 7, 41, False),  # T0SZ, TG0, EPD0, HPD0
        (ttbr1, 16, GRANULES_1, 30, 23, 42, True),  # T1SZ, TG1, EPD1, HPD1
    ):
        if tcr >> disable & 1:
            continue
        page_shift = granules[tcr >> granule_at & 3]
        bits = 64 - (tcr >> size_at & 63)
        ds = bool(tcr >> 59 & 1) and page_shift != 16
        wide = page_shift == 16 and SIZES[tcr >> 32 & 7] == 52
        walker = Arm64(
            read, root_of(ttbr, page_shift, bits, ds or wide), page_shift, bits, ds, wide,
            hierarchical=not tcr >> no_tables & 1, hardware_dirty=bool(tcr >> 40 & 1),
        )  # fmt: skip
        windows.append(((1 << 64) - (1 << bits), 1 << 64, walker) if upper else (0, 1 << bits, walker))
    return windows


def root_of(ttbr: int, page_shift: int, bits: int, wide: bool) -> int:
    """BADDR: bits 47:x, aligned to the root's own size; where addresses have 52 bits, 51:48 are in bits 5:2."""
    walker = Arm64(lambda _: None, 0, page_shift, bits)
    size = 8 * walker.entries(walker.shifts()[0])
    base = ttbr & ((1 << 48) - 1)
    if not wide:
        return base & -max(size, 2)  # bit 0 is CnP
    return (base & -max(size, 64)) | (ttbr >> 2 & 15) << 48
