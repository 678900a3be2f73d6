"""ELF core files: the numbers of headers and notes, and what machines' notes hold.

Source: System V ABI, edition 4.1, chapters 4 and 5; ``include/uapi/linux/elf.h``, Linux 6.18 (PN_XNUM, NT_PRSTATUS);
QEMU, ``target/i386/arch_dump.c`` (its state of a CPU, version 1).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ET_CORE", "LAYOUTS", "MACHINES", "NT_PRSTATUS", "PN_XNUM", "PT_LOAD", "PT_NOTE", "Layout", "Machine",
]  # fmt: skip

ET_CORE: Final = 4
PT_LOAD: Final = 1
PT_NOTE: Final = 4
NT_PRSTATUS: Final = 1
PN_XNUM: Final = 0xFFFF
"""The number of program headers when it does not fit: it is then in ``sh_info`` of the first section header."""


class Layout(NamedTuple):
    """How the headers of a class lie in the file, without the byte order.

    Attributes:
        head: ``e_type`` and what follows, as ``struct`` has it.
        program: A program header.
        fields: Where in one ``p_type p_offset p_vaddr p_paddr p_filesz p_memsz`` are.
        section: A section header.
        place: Where in one ``sh_offset sh_size sh_info`` are.
        bits: Of an address.
    """

    head: str
    program: str
    fields: tuple[int, int, int, int, int, int]
    section: str
    place: tuple[int, int, int]
    bits: int


LAYOUTS: Final[Mapping[int, Layout]] = MappingProxyType(
    {
        1: Layout("HHIIIIIHHHHHH", "8I", (0, 1, 2, 3, 4, 5), "10I", (4, 5, 7), 32),
        2: Layout("HHIQQQIHHHHHH", "2I6Q", (0, 2, 3, 4, 5, 6), "2I4Q2I2Q", (4, 5, 7), 64),
    }
)
"""By ``EI_CLASS``."""


class Machine(NamedTuple):
    """A machine.

    Attributes:
        name: What messages call it.
        state: The registers in a note called "QEMU" that say where tables are, and where in it they are, 8 bytes each.
        implied: Registers that the note has not, and that follow from the machine.
        unsaid: What to say of these.
        physical: The address that the direct map begins at is a multiple of this, and shows physical address 0; 0: it
            shows another.
    """

    name: str
    state: Mapping[str, int] = MappingProxyType({})
    implied: Mapping[str, int] = MappingProxyType({})
    unsaid: str = ""
    physical: int = 0


_STATE: Final = MappingProxyType({"cr0": 392, "cr3": 416, "cr4": 424})
"""After 2 words of 4 bytes, 18 registers of 8 and 10 segments of 24: CR0 to CR4."""
_UNSAID: Final = "EFER is not in its notes: the mode is the one that its header says, and no-execute is taken to be on"
MACHINES: Final[Mapping[int, Machine]] = MappingProxyType(
    {
        3: Machine("i386", _STATE, {"efer": 0x800}, _UNSAID, 1 << 30),
        8: Machine("MIPS"),
        20: Machine("PowerPC"),
        21: Machine("PowerPC64"),
        22: Machine("s390"),
        40: Machine("Arm"),
        62: Machine("x86-64", _STATE, {"efer": 0xD01}, _UNSAID, 1 << 30),
        183: Machine("arm64"),
        243: Machine("RISC-V"),
        258: Machine("LoongArch"),
    }
)
"""By ``e_machine``."""
