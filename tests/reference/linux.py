"""What Linux 7.2 and 7.3 make of entries: those that are not valid, and the bits that are the kernel's own.

Older kernels: ``older.py``.

The kernel's headers: ``arch/ARCH/include/asm/pgtable*.h``, ``include/linux/swapops.h`` (``leafops.h``), ``swap.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.reference.x86 import ADDRESS

if TYPE_CHECKING:
    from tests.reference.found import Decoded, Walker

# linux/swapops.h: PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD
MARKED_UFFD_WP, MARKED_POISONED, MARKED_GUARD = 1, 2, 4


class Meaning(NamedTuple):
    """What one entry means, in the words of a golden file."""

    kind: str
    frame: int | None = None
    flags: frozenset[str] = frozenset()
    memory: int = 0
    pkey: int = 0
    swap: tuple[int, int] | None = None
    order: int = 0


class Special(NamedTuple):
    """linux/swap.h, 6.15 to 7.3 with CONFIG_DEVICE_PRIVATE: counted down from 31; and the markers' bits."""

    hwpoison: tuple[int, ...] = (24,)
    migration: tuple[int, ...] = (25, 26, 27)
    device: tuple[int, ...] = (28, 29, 30)
    marker: tuple[int, ...] = (31,)
    error: tuple[int, ...] = ()
    marks: int = MARKED_UFFD_WP | MARKED_POISONED | MARKED_GUARD


NEWEST = Special()
WITHOUT_DEVICES = Special((27,), (28, 29, 30), ())


def named(raw: int, bits: dict[int, str]) -> frozenset[str]:
    """The names of the bits that are set."""
    return frozenset(name for bit, name in bits.items() if raw >> bit & 1)


@dataclass(frozen=True)
class Linux:
    """One architecture's layout. ``frame_bits`` is SWP_PFN_BITS: so much of an offset is a frame number."""

    page_shift: int
    frame_bits: int
    special: Special = NEWEST

    def meaning(self, walker: Walker, shift: int, raw: int) -> Meaning:
        """One entry of the level with this shift."""
        entry = walker.decode(shift, raw)
        if entry.what == "table":
            return Meaning("table", entry.frame, frozenset(entry.rights.names()))
        if entry.what == "leaf":
            return self.page("present", entry, entry.rights.names(), self.software(raw))
        if entry.what == "reserved":
            return Meaning("reserved")
        if walker.empty(raw):
            return Meaning("none")
        if not walker.pages(shift):
            return Meaning("other")  # ``p4d_bad``: neither a table nor a page can be there
        there = self.without_rights(walker, shift, raw)
        if there is not None:
            return self.page("prot_none", there._replace(global_=False), set(), self.software(raw))
        return self.absent(shift, raw)

    def page(self, kind: str, entry: Decoded, rights: set[str], software: frozenset[str]) -> Meaning:
        """A page that is there, with or without rights."""
        state = {
            name
            for name, there in (("ACCESSED", entry.accessed), ("DIRTY", entry.dirty), ("GLOBAL", entry.global_))
            if there
        }
        flags = frozenset(rights | state | software)
        return Meaning(kind, entry.frame, flags, entry.memory, entry.key, order=entry.order)

    def absent(self, shift: int, raw: int) -> Meaning:
        """A swap entry: a file and an offset, or one of the special types."""
        type_, offset = self.type_and_offset(raw)
        frame = (offset & (1 << self.frame_bits) - 1) << self.page_shift
        flags = self.swap_flags(shift, raw)
        if type_ in self.special.hwpoison:
            return Meaning("hwpoison", frame)
        if type_ in self.special.migration:
            return Meaning("migration", frame, flags - {"EXCLUSIVE"})
        if type_ in self.special.device:
            return Meaning("other")
        if type_ in self.special.error:
            return Meaning("hwpoison")
        if type_ in self.special.marker:
            marker = self.marker(offset & self.special.marks)
            return marker if marker.kind == "other" else marker._replace(flags=flags - {"EXCLUSIVE"})
        return Meaning("swap", flags=flags, swap=(type_, offset))

    def marker(self, marks: int) -> Meaning:
        """A marker, by the bits of its offset that mean something."""
        if marks & MARKED_GUARD:
            return Meaning("guard")
        if marks & MARKED_POISONED:
            return Meaning("hwpoison")
        return Meaning("uffd_wp" if marks & MARKED_UFFD_WP else "other")

    def software(self, raw: int) -> frozenset[str]:
        """The kernel's own bits of a page."""
        raise NotImplementedError

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        """The bits that a swap entry has beside type and offset."""
        raise NotImplementedError

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        raise NotImplementedError

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """The page that is there though the entry is not valid, as if it were; None where there is none."""
        raise NotImplementedError


@dataclass(frozen=True)
class Bare(Linux):
    """No operating system: what the hardware does not take is empty, or nobody knows what."""

    def absent(self, shift: int, raw: int) -> Meaning:
        return Meaning("other")

    def without_rights(self, walker: Walker, shift: int, raw: int) -> None:
        return None

    def software(self, raw: int) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class X86Linux(Linux):
    """arch/x86/include/asm/pgtable_types.h and pgtable_64.h."""

    def software(self, raw: int) -> frozenset[str]:
        """_PAGE_BIT_SPECIAL, _UFFD_WP, _SOFT_DIRTY; _SAVED_DIRTY is a software bit above the address."""
        return named(raw, {9: "SPECIAL", 10: "UFFD_WP", 11: "SOFT_DIRTY", 58: "SAVED_DIRTY"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {1: "SOFT_DIRTY", 2: "UFFD_WP", 3: "EXCLUSIVE"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        """Type in 63:59, the offset inverted in 58:9 (the L1TF mitigation)."""
        return raw >> 59, ~raw >> 9 & (1 << 50) - 1

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """_PAGE_PROTNONE is bit 8; ``pmd_present`` looks at PSE too, for a huge page being split. Frames: inverted."""
        if not raw & (0x100 if shift == 12 else 0x180):
            return None
        frame = ~raw & ADDRESS & -(1 << shift)
        rest = raw & ~ADDRESS & ~0x100 | 1
        if shift > 12:
            rest |= raw & 0x1000 | 0x80  # the PAT bit of a huge page is not inverted
        return walker.decode(shift, frame | rest)


@dataclass(frozen=True)
class Ia32Linux(Linux):
    """32-bit x86: no soft-dirty, no write protection by userfaultfd, no memory of devices (arch/x86/Kconfig)."""

    special: Special = WITHOUT_DEVICES

    def software(self, raw: int) -> frozenset[str]:
        """_PAGE_BIT_SPECIAL; _PAGE_BIT_SAVED_DIRTY is _PAGE_BIT_SOFTW2."""
        return named(raw, {9: "SPECIAL", 10: "SAVED_DIRTY"})


@dataclass(frozen=True)
class TwoLevelLinux(Ia32Linux):
    """arch/x86/include/asm/pgtable-2level.h."""

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        """_PAGE_SWP_EXCLUSIVE is _PAGE_PSE."""
        return named(raw, {7: "EXCLUSIVE"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        """Type in 5:1, the offset as it is in 31:9."""
        return raw >> 1 & 31, raw >> 9

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """_PAGE_PROTNONE is bit 8; ``pmd_present`` looks at PSE too. Reserved bits do not matter."""
        if not raw & (0x100 if shift == 12 else 0x180):
            return None
        return walker.decode(shift, raw & ~0x100 | 1 if shift == 12 else raw & ~0x20_0100 | 0x81)


@dataclass(frozen=True)
class PaeLinux(Ia32Linux):
    """arch/x86/include/asm/pgtable-3level.h: swap and frames as on x86-64."""

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        """_PAGE_SWP_EXCLUSIVE is _PAGE_PSE, which makes a directory's entry a huge page that is being split."""
        return named(raw, {7: "EXCLUSIVE"}) if shift == 12 else frozenset()

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 59, ~raw >> 9 & (1 << 50) - 1

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """As X86Linux; what is reserved in an entry that is valid does not matter in one that is not."""
        if not raw & (0x100 if shift == 12 else 0x180):
            return None
        frame = ~raw & ADDRESS & -(1 << shift)
        rest = raw & 0xEFF | 1
        if shift > 12:
            rest |= raw & 0x1000 | 0x80
        return walker.decode(shift, frame | rest)


@dataclass(frozen=True)
class Arm64Linux(Linux):
    """arch/arm64/include/asm/pgtable.h and pgtable-prot.h, 6.12 and later."""

    def software(self, raw: int) -> frozenset[str]:
        """PTE_DIRTY, PTE_SPECIAL, PTE_UFFD_WP."""
        return named(raw, {55: "DIRTY", 56: "SPECIAL", 58: "UFFD_WP"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {2: "EXCLUSIVE", 3: "UFFD_WP"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        """Type in 10:6, offset in 61:12; bit 11 is PTE_PRESENT_INVALID. No device is larger than 2 to the 64 bytes."""
        return raw >> 6 & 31, raw >> 12 & (1 << min(50, 64 - self.page_shift)) - 1

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """PTE_PRESENT_INVALID: not valid, and bit 11."""
        if not raw >> 11 & 1:
            return None
        return walker.decode(shift, raw & ~2 | (3 if shift == walker.shifts()[-1] else 1))


@dataclass(frozen=True)
class RiscVLinux(Linux):
    """arch/riscv/include/asm/pgtable-bits.h and pgtable.h; without Svrsw60t59b."""

    def software(self, raw: int) -> frozenset[str]:
        """_PAGE_SPECIAL."""
        return named(raw, {8: "SPECIAL"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {6: "EXCLUSIVE"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        """Type in 11:7, the offset above."""
        return raw >> 7 & 31, raw >> 12

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        """_PAGE_PROT_NONE is the G bit; ``pmd_present`` looks at R, W and X too, for a huge page being split."""
        if not raw & (0x20 if shift == 12 else 0x2E):
            return None
        napot = raw & 1 << 63 if shift == 12 and raw >> 10 & 15 == 8 else 0
        below = (1 << shift - 12) - 1 << 10  # PPN bits that ``pmd_pfn`` does not look at
        page = walker.decode(shift, raw & ((1 << 54) - 1) & ~0x2E & ~below | 3 | napot)
        return page._replace(memory=raw >> 61 & 3)


@dataclass(frozen=True)
class RiscVLinuxWithMore(RiscVLinux):
    """The same on a CPU with Svrsw60t59b, from 7.0 on."""

    def software(self, raw: int) -> frozenset[str]:
        """_PAGE_SPECIAL, _PAGE_SOFT_DIRTY, _PAGE_UFFD."""
        return named(raw, {8: "SPECIAL", 59: "SOFT_DIRTY", 60: "UFFD_WP"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        """_PAGE_SWP_SOFT_DIRTY is X, which makes the entry of a larger page one that is being split."""
        bits = {3: "SOFT_DIRTY", 4: "UFFD_WP", 6: "EXCLUSIVE"}
        return named(raw, bits if shift == 12 else {4: "UFFD_WP", 6: "EXCLUSIVE"})
