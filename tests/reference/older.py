"""What older kernels make of entries, and kernels on CPUs with more, where that is not what 7.3 usually does.

Written from their own headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reference.families import FAMILIES, Family
from tests.reference.linux import Arm64Linux, Linux, Meaning, RiscVLinux, RiscVLinuxWithMore, Special, X86Linux, named
from tests.reference.riscv import RiscV
from tests.reference.x86 import ADDRESS, Hardware

if TYPE_CHECKING:
    from tests.reference.found import Decoded, Walker

# linux/swap.h with CONFIG_DEVICE_PRIVATE
L6_12 = Special((23,), (24, 25, 26), (27, 28, 29, 30), (31,), (), 3)
L6_1 = Special((22,), (23, 24, 25), (26, 27, 28, 29), (30,), (31,), 1)
L5_10 = Special((27,), (28, 29), (30, 31), (), (), 0)
L3_10 = Special((29,), (30, 31), (), (), (), 0)


@dataclass(frozen=True)
class X86Before66(X86Linux):
    """Before 6.6: bit 58 is not _PAGE_SAVED_DIRTY."""

    def software(self, raw: int) -> frozenset[str]:
        return named(raw, {9: "SPECIAL", 10: "UFFD_WP", 11: "SOFT_DIRTY"})


@dataclass(frozen=True)
class X86L510(X86Before66):
    """5.10: no _PAGE_SWP_EXCLUSIVE."""

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {1: "SOFT_DIRTY", 2: "UFFD_WP"})


@dataclass(frozen=True)
class X86L414(X86Linux):
    """4.14: nothing is inverted; type in 13:9, offset in 63:14."""

    def software(self, raw: int) -> frozenset[str]:
        return named(raw, {9: "SPECIAL", 11: "SOFT_DIRTY"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {1: "SOFT_DIRTY"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 9 & 31, raw >> 14

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        if not raw & (0x100 if shift == 12 else 0x180):
            return None
        frame = raw & ADDRESS & -(1 << shift)
        rest = raw & ~ADDRESS & ~0x100 | 1 | (raw & 0x1000 | 0x80 if shift > 12 else 0)
        return walker.decode(shift, frame | rest)


@dataclass(frozen=True)
class X86L414Fixed(X86Linux):
    """4.14 with the fix of L1TF (4.14.63)."""

    def software(self, raw: int) -> frozenset[str]:
        return named(raw, {9: "SPECIAL", 11: "SOFT_DIRTY"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {1: "SOFT_DIRTY"})


@dataclass(frozen=True)
class X86L310(X86L414):
    """3.10: type in 5:1, offset in 63:9; bit 6 is _PAGE_FILE."""

    def absent(self, shift: int, raw: int) -> Meaning:
        return Meaning("other") if shift == 12 and raw & 0x40 else super().absent(shift, raw)

    def software(self, raw: int) -> frozenset[str]:
        return named(raw, {9: "SPECIAL"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return frozenset()

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 1 & 31, raw >> 9


class HardwareL310(Hardware):
    """3.10: ``pte_none`` looks at A and D as well."""

    def empty(self, raw: int) -> bool:
        return raw == 0


@dataclass(frozen=True)
class Arm64L61(Arm64Linux):
    """6.1: PTE_PROT_NONE is bit 58, PMD_PRESENT_INVALID bit 59; type in 7:3, offset in 57:8."""

    def software(self, raw: int) -> frozenset[str]:
        return named(raw, {55: "DIRTY", 56: "SPECIAL"})

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return named(raw, {2: "EXCLUSIVE"})

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 3 & 31, raw >> 8 & (1 << min(50, 64 - self.page_shift)) - 1

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        last = shift == walker.shifts()[-1]
        if not raw >> 58 & (1 if last else 3):
            return None
        return walker.decode(shift, raw & ~2 | (3 if last else 1))


@dataclass(frozen=True)
class Arm64L510(Arm64L61):
    """5.10: the type has six bits, 7:2."""

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return frozenset()

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 2 & 63, raw >> 8 & (1 << min(50, 64 - self.page_shift)) - 1


@dataclass(frozen=True)
class RiscVL61(RiscVLinux):
    """6.1: type in 10:6, offset above."""

    def swap_flags(self, shift: int, raw: int) -> frozenset[str]:
        return frozenset()

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 6 & 31, raw >> 11


@dataclass(frozen=True)
class RiscVL510(RiscVL61):
    """5.10: _PAGE_PROT_NONE is the R bit; type in 6:2, offset above."""

    def type_and_offset(self, raw: int) -> tuple[int, int]:
        return raw >> 2 & 31, raw >> 7

    def without_rights(self, walker: Walker, shift: int, raw: int) -> Decoded | None:
        return super().without_rights(walker, shift, raw & ~0x2E | 0x20) if raw & 2 else None


_LAYERS: dict[tuple[str, str], Linux] = {
    ("x86-64", "linux-6.12"): X86Linux(12, 34, L6_12),
    ("x86-64", "linux-6.1"): X86Before66(12, 34, L6_1),
    ("x86-64", "linux-6.1,device_private=no,pte_marker=no"): X86Before66(
        12, 34, Special((27,), (28, 29, 30), (), (), (31,), 0)
    ),
    ("x86-64", "linux-5.10"): X86L510(12, 34, L5_10),
    ("x86-64-la57", "linux-5.10"): X86L510(12, 40, L5_10),
    ("x86-64", "linux-4.14"): X86L414(12, 34, L5_10),
    ("x86-64", "linux-4.14,l1tf=yes"): X86L414Fixed(12, 34, L5_10),
    ("x86-64", "linux-3.10"): X86L310(12, 34, L3_10),
    ("arm64-4k", "linux-6.12"): Arm64Linux(12, 40, L6_12),
    ("arm64-4k", "linux-6.1"): Arm64L61(12, 40, L6_1),
    ("arm64-16k-lpa2", "linux-6.1"): Arm64L61(14, 38, L6_1),
    ("arm64-64k", "linux-5.10"): Arm64L510(16, 36, L5_10),
    ("arm64-4k", "linux-5.10"): Arm64L510(12, 40, L5_10),
    ("riscv-sv48", "linux-6.12"): RiscVLinux(12, 44, L6_12),
    ("riscv-sv39", "linux-6.1"): RiscVL61(12, 44, L6_1),
    ("riscv-sv57", "linux-5.10"): RiscVL510(12, 44, L5_10),
    ("riscv-sv39", "linux-7.3,svrsw60t59b=yes"): RiscVLinuxWithMore(12, 44),
}
OLDER: dict[tuple[str, str], Family] = {key: FAMILIES[key[0]]._replace(linux=linux) for key, linux in _LAYERS.items()}
"""By format and ``os``."""
_X86_L310 = "x86-64", "linux-3.10"
OLDER[_X86_L310] = OLDER[_X86_L310]._replace(make=lambda read, root, _: HardwareL310(read, root))
_RISCV_MORE = "riscv-sv39", "linux-7.3,svrsw60t59b=yes"
OLDER[_RISCV_MORE] = OLDER[_RISCV_MORE]._replace(make=lambda read, root, _: RiscV(read, root, 3, svrsw60t59b=True))
