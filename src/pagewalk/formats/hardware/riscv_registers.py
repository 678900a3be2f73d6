"""RISC-V's ``satp``: which of its formats is on, and where the root is.

Source: RISC-V privileged architecture, "Supervisor Address Translation and Protection (satp) Register".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import bit, run
from pagewalk.formats.hardware.riscv import access_of, riscv
from pagewalk.formats.hardware.sv32 import sv32
from pagewalk.formats.os.linux_riscv import linux_riscv
from pagewalk.formats.registers import Chooser, Paging, RegisterFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pagewalk.formats.paging import PagingFormat
    from pagewalk.formats.window import Window

__all__ = ["REGISTERS"]

MODES: Final = {8: 3, 9: 4, 10: 5}
"""MODE in bits 63:60 of 64, and the number of levels."""
SV32: Final = bit(31)
"""MODE of 32 bits. As one of 64 it would be a root where translation is off, and then all of them are to be zero."""


def _read(values: Mapping[str, int], choose: Chooser) -> Paging:
    """What ``satp`` says.

    Of 64 bits, MODE is 63:60, ASID 59:44, and the root's page number below; of 32, they are 31, 30:22 and 21:0.

    Raises:
        UnsupportedError: Translation is off, or of a mode that is reserved.
    """
    satp = values["satp"]
    mode = satp >> 60
    access = access_of(values)
    if not satp >> 32 and satp & SV32:
        form, number, asid = sv32(choose(), access=access), satp & run(21, 0), satp >> 22 & run(8, 0)
    elif mode in MODES:
        form, number = riscv(MODES[mode], choose(linux_riscv), access=access), satp & run(43, 0)
        asid = satp >> 44 & run(15, 0)
    else:
        why = "says that translation is off" if not mode else f"has mode {mode}, which is reserved or not read"
        known = "8, 9 and 10 (Sv39, Sv48, Sv57) are, in bits 63:60, and 1 (Sv32) in bit 31 of 32"
        raise UnsupportedError(f"satp {satp:#x} {why}: {known}")
    windows = tuple(window._replace(root=number << 12, asid=asid) for window in form.windows)
    return Paging(form, windows, ("satp",) * len(windows))


def _write(form: PagingFormat, windows: Sequence[Window]) -> dict[str, int]:
    """What to load."""
    levels, number = len(form.hardware), windows[0].root >> 12
    mode = SV32 if form.word.size == 4 else next(mode for mode, has in MODES.items() if has == levels) << 60
    return {"satp": mode | number}


REGISTERS: Final = RegisterFile(("satp", "sstatus", "menvcfg"), (("satp",),), _read, _write)
