"""One file an architecture, and every format by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.formats.hardware.arm64 import REGISTERS as ARM64_REGISTERS
from pagewalk.formats.hardware.arm64 import arm64
from pagewalk.formats.hardware.arm64 import windows_of as arm64_windows
from pagewalk.formats.hardware.ia32 import ia32, pae
from pagewalk.formats.hardware.riscv import riscv
from pagewalk.formats.hardware.riscv_registers import REGISTERS as RISCV_REGISTERS
from pagewalk.formats.hardware.sv32 import sv32
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.formats.hardware.x86_registers import REGISTERS as X86_REGISTERS
from pagewalk.formats.os.linux_arm64 import linux_arm64
from pagewalk.formats.os.linux_ia32 import linux_ia32
from pagewalk.formats.os.linux_riscv import linux_riscv
from pagewalk.formats.os.linux_x86 import linux_x86
from pagewalk.formats.os.windows_x86 import WINDOWS_X86

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.formats.os.layer import Layer
    from pagewalk.formats.os.linux import Linux
    from pagewalk.formats.paging import PagingFormat
    from pagewalk.formats.registers import RegisterFile
    from pagewalk.formats.window import Window

__all__ = ["MODELS", "REGISTERS", "Model"]


class Model(NamedTuple):
    """A format that has a name, for any operating system.

    Attributes:
        make: Makes it, given the operating system's layer.
        valid: The bit that makes an entry present.
        registers: Those that say where its tables are.
        linux: Linux's layer on it, given the kernel; None: Linux does not run on it, or nobody has said how.
        windows: Windows' layer on it; None likewise.
        narrowed: Its windows of another width, in bits, where registers say the width; None: they do not.
    """

    make: Callable[[Layer], PagingFormat]
    valid: int
    registers: RegisterFile
    linux: Callable[[Linux], Layer] | None = None
    windows: Layer | None = None
    narrowed: Callable[[PagingFormat, tuple[int, ...]], tuple[Window, ...]] | None = None


def _x86(levels: int) -> Model:
    return Model(
        lambda layer: x86_64(levels, layer=layer), 1, X86_REGISTERS, lambda linux: linux_x86(levels, linux), WINDOWS_X86
    )


def _arm64(page_shift: int, bits: int, *, wide: bool = False) -> Model:
    return Model(
        lambda layer: arm64(page_shift, bits, layer, wide=wide),
        1,
        ARM64_REGISTERS,
        lambda linux: linux_arm64(page_shift, linux),
        narrowed=arm64_windows,
    )


MODELS: Final[dict[str, Model]] = {
    "x86-64": _x86(4),
    "x86-64-la57": _x86(5),
    "ia32": Model(ia32, 1, X86_REGISTERS, lambda linux: linux_ia32(wide=False, linux=linux)),
    "pae": Model(pae, 1, X86_REGISTERS, lambda linux: linux_ia32(wide=True, linux=linux)),
    "arm64-4k": _arm64(12, 48),
    "arm64-4k-lpa2": _arm64(12, 52, wide=True),
    "arm64-16k": _arm64(14, 47),
    "arm64-16k-lpa2": _arm64(14, 52, wide=True),
    "arm64-64k": _arm64(16, 48),
    "arm64-64k-lpa": _arm64(16, 52, wide=True),
    "riscv-sv39": Model(lambda layer: riscv(3, layer), 1, RISCV_REGISTERS, linux_riscv),
    "riscv-sv48": Model(lambda layer: riscv(4, layer), 1, RISCV_REGISTERS, linux_riscv),
    "riscv-sv57": Model(lambda layer: riscv(5, layer), 1, RISCV_REGISTERS, linux_riscv),
    "riscv-sv32": Model(sv32, 1, RISCV_REGISTERS),
}
"""Every format by the name that ``--format`` takes."""

REGISTERS: Final = (X86_REGISTERS, ARM64_REGISTERS, RISCV_REGISTERS)
"""The registers of each architecture."""
