"""What a guest's architecture decides: how it is built and started, and which registers say where its tables are."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["AARCH64", "I386", "RISCV64", "X86_64", "Architecture"]


class Privilege(NamedTuple):
    """A register's field that says who runs, and its value for the kernel.

    QEMU's ``gva2gpa`` translates for whoever runs: a program is not told where the kernel's pages are.
    """

    register: str
    mask: int
    kernel: int


class Isolation(NamedTuple):
    """How a kernel keeps its pages out of a program's tables: it has others while it runs (PTI on x86, KPTI on arm64).

    Attributes:
        register: The one that it changes.
        program: A bit that is set in it for the program's tables, and clear for the kernel's.
        shared: What both have: from the first address to the last, each a symbol of the kernel or a number.
        shares_users: Both have one root for the program's own addresses.
    """

    register: str
    program: int
    shared: tuple[tuple[str | int, str | int], ...]
    shares_users: bool = False


class Architecture(NamedTuple):
    """An architecture.

    Attributes:
        emulator: QEMU's program for it.
        compiler: A C compiler that makes static programs for it.
        machine: The machine that QEMU plays.
        console: The kernel's name for its serial port.
        base: Physical address of the first byte of RAM.
        registers: Those that pagewalk is given, by the names that the gdb stub has.
        counter: The register that says where the program is.
        privilege: None: ``gva2gpa`` asks nobody.
        kernel: The first address that is the kernel's.
        withheld: The rights that a page lacks where its area does. The 32-bit kernels set no XD, not even with PAE.
        isolation: How a kernel isolates its tables, if a guest's does.
    """

    emulator: str
    compiler: str
    machine: str
    console: str
    base: int
    registers: tuple[str, ...]
    counter: str
    privilege: Privilege | None
    kernel: int = 1 << 63
    withheld: str = "rwx"
    isolation: Isolation | None = None


CPU_ENTRY_AREA: Final = (0xFFFF_FE00_0000_0000, 0xFFFF_FE80_0000_0000)
"""With four levels (Documentation/arch/x86/x86_64/mm.rst)."""
X86_64: Final = Architecture(
    "qemu-system-x86_64",
    "gcc",
    "q35",
    "ttyS0",
    0,
    ("cr0", "cr3", "cr4", "efer"),
    "rip",
    None,
    isolation=Isolation("cr3", 1 << 12, (CPU_ENTRY_AREA, ("__entry_text_start", "__entry_text_end"))),
)
I386: Final = Architecture(
    "qemu-system-i386",
    "i686-linux-gnu-gcc",
    "q35",
    "ttyS0",
    0,
    ("cr0", "cr3", "cr4", "efer"),
    "eip",
    None,
    0xC000_0000,
    "rw",
)
AARCH64: Final = Architecture(
    "qemu-system-aarch64",
    "aarch64-linux-gnu-gcc",
    "virt",
    "ttyAMA0",
    0x4000_0000,
    ("ttbr0_el1", "ttbr1_el1", "tcr_el1", "mair_el1"),
    "pc",
    Privilege("cpsr", 0xF, 5),  # EL1h
    isolation=Isolation(  # a bit of the ASID
        "ttbr1_el1", 1 << 48, (("__entry_tramp_text_start", "__entry_tramp_text_end"),), shares_users=True
    ),
)
RISCV64: Final = Architecture(
    "qemu-system-riscv64",
    "riscv64-linux-gnu-gcc",
    "virt",
    "ttyS0",
    0x8000_0000,
    ("satp",),
    "pc",
    Privilege("priv", 3, 1),  # supervisor
)
