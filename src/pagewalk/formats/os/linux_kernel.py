"""Where Linux keeps its own page tables: by architecture, what VMCOREINFO says of them, and which formats there are.

Rows for whoever looks for a kernel in a memory that nobody knows: ``sources.linux``. A regime is given as registers;
the roots in them are 0, and found out.

Source: ``Documentation/admin-guide/kdump/vmcoreinfo.rst``; ``arch/*/kernel/vmcore_info.c`` (before 6.9
``crash_core.c``), Linux 5.10 to 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.formats.bits import bit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KERNELS", "ROOT", "TOP", "KernelTables", "Regime"]

ROOT: Final = "pgd"
"""The member of ``mm_struct`` that has the virtual address of the top table."""
TOP: Final = "swapper_pg_dir"
"""The kernel's own top table, by the name that VMCOREINFO has for it."""


class Regime(NamedTuple):
    """A way in which an architecture may translate addresses.

    Attributes:
        registers: Those that say so, as text; roots are 0.
        said: What VMCOREINFO says where it is so: the name of a number, how far it is shifted right, and what it is
            then. What it does not say contradicts nothing.
    """

    registers: str
    said: tuple[tuple[str, int, int], ...] = ()

    def fits(self, number: Callable[[str], int | None]) -> bool:
        """Whether what is said contradicts it.

        Args:
            number: What VMCOREINFO says by name; None: nothing.
        """
        known = ((number(name), shift, value) for name, shift, value in self.said)
        return all(one is None or one >> shift == value for one, shift, value in known)


class KernelTables(NamedTuple):
    """What an architecture's kernels have in common.

    Attributes:
        member: A member of ``struct pt_regs`` that no other architecture's has.
        image: Where the kernel's image lies: virtual addresses minus physical ones, but for the numbers in ``add`` and
            ``less``.
        add, less: Names of numbers in VMCOREINFO.
        regimes: The likeliest first.
        user_root: What is added to a process's root for the one that the CPU has in user mode, where page tables are
            isolated (PTI); 0: there is none beside it.
    """

    member: str
    image: int
    add: tuple[str, ...]
    less: tuple[str, ...]
    regimes: tuple[Regime, ...]
    user_root: int = 0

    def image_offset(self, number: Callable[[str], int | None]) -> int | None:
        """Virtual addresses of the kernel's image minus physical ones, by what VMCOREINFO says; None: it does not."""
        terms = [(1, number(name)) for name in self.add] + [(-1, number(name)) for name in self.less]
        if any(value is None for _, value in terms):
            return None
        return sum((sign * (value or 0) for sign, value in terms), self.image) & (1 << 64) - 1


_PAE: Final = bit(5)
_LA57: Final = bit(12)
_X86: Final = KernelTables(
    "r15",
    0xFFFF_FFFF_8000_0000,  # __START_KERNEL_map
    (),
    ("phys_base",),
    (
        Regime(f"cr3=0x0,cr4={_PAE:#x}", (("pgtable_l5_enabled", 0, 0),)),
        Regime(f"cr3=0x0,cr4={_PAE | _LA57:#x}", (("pgtable_l5_enabled", 0, 1),)),
    ),
    user_root=0x1000,  # PTI_USER_PGTABLE_BIT
)
_GRANULES: Final = {12: (0, 2), 14: (2, 1), 16: (1, 3)}
"""TCR_EL1.TG0 and TG1, by log2 of the page."""
_DS: Final = bit(59)
_WIDE: Final = 6 << 32  # TCR_EL1.IPS


def _translation(page_shift: int, bits: int) -> Regime:
    """A granule and a width, the same for both halves."""
    low, high = _GRANULES[page_shift]
    tcr = low << 14 | high << 30 | (64 - bits) | (64 - bits) << 16
    tcr |= _WIDE if page_shift == 16 else _DS if bits > 48 else 0
    said = ("PAGESIZE", 0, 1 << page_shift), ("TCR_EL1_T1SZ", 0, 64 - bits)
    return Regime(f"tcr_el1={tcr:#x},ttbr0_el1=0x0,ttbr1_el1=0x0", said)


_WIDTHS: Final = ((12, 48), (12, 52), (12, 39), (14, 47), (14, 52), (14, 48), (14, 36), (16, 48), (16, 52), (16, 42))
_ARM64: Final = KernelTables("pstate", 0, ("kimage_voffset",), (), tuple(_translation(*one) for one in _WIDTHS))
_RISCV: Final = KernelTables(
    "epc",
    0,
    ("va_kernel_pa_offset",),
    (),
    tuple(
        Regime(f"satp={mode << 60:#x}", (("satp", 60, mode), ("VA_BITS", 0, bits)))
        for mode, bits in ((9, 48), (8, 39), (10, 57))
    ),
)
KERNELS: Final = (_X86, _ARM64, _RISCV)
