"""x86's control registers: which of the four paging modes they say, and where its root is.

Source: Intel SDM vol. 3A, 5.1.1 and figure 5-1 (modes), 5.10.1 (PCID), 4.4 (LAM); vol. 3A, 2.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import bit, run
from pagewalk.formats.fields import RIGHTS
from pagewalk.formats.flags import Kind
from pagewalk.formats.hardware.ia32 import ia32, pae
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.formats.hardware.x86_access import access_of, barred_of, memory_types
from pagewalk.formats.os.linux_ia32 import linux_ia32
from pagewalk.formats.os.linux_x86 import linux_x86
from pagewalk.formats.os.windows_x86 import WINDOWS_X86
from pagewalk.formats.registers import Chooser, Paging, RegisterFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pagewalk.formats.paging import PagingFormat
    from pagewalk.formats.window import Window

__all__ = ["REGISTERS"]

PAGING = bit(31)  # CR0.PG
LARGE_PAGES, WIDE_ENTRIES, FIVE_LEVELS, PCIDS = (bit(place) for place in (4, 5, 12, 17))  # CR4.PSE, PAE, LA57, PCIDE
LAM_KERNEL = bit(28)  # CR4
WANTED, LONG_MODE, NO_EXECUTE = (bit(place) for place in (8, 10, 11))  # EFER.LME, LMA, NXE
LAM_57, LAM_48 = bit(61), bit(62)  # CR3


def _read(values: Mapping[str, int], choose: Chooser) -> Paging:
    """What CR0, CR3, CR4 and EFER say; what is not given is as in 64-bit mode with 4 levels.

    Only CR4 without PAE says by itself that the mode is another.

    Raises:
        UnsupportedError: Paging is off, or they contradict each other.
    """
    cr0 = values.get("cr0", PAGING)
    cr4 = values.get("cr4", WIDE_ENTRIES)
    efer = values.get("efer", LONG_MODE | NO_EXECUTE if cr4 & WIDE_ENTRIES else 0)
    if not cr0 & PAGING:
        raise UnsupportedError(f"cr0 {cr0:#x} says that paging is off (bit 31): take registers of a later moment")
    found = _wide(values, choose, cr4, efer) if efer & LONG_MODE else _narrow(values, choose)
    return found._replace(format=replace(found.format, memory_types=memory_types(values.get("pat"))))


def _wide(values: Mapping[str, int], choose: Chooser, cr4: int, efer: int) -> Paging:
    """What registers say in 64-bit mode.

    Raises:
        UnsupportedError: They contradict each other.
    """
    if not cr4 & WIDE_ENTRIES:
        raise UnsupportedError(f"cr4 {cr4:#x} without PAE (bit 5) contradicts 64-bit mode: are they of one CPU?")
    levels = 5 if cr4 & FIVE_LEVELS else 4
    form = x86_64(
        levels,
        layer=choose(lambda linux: linux_x86(levels, linux), WINDOWS_X86),
        no_execute=bool(efer & NO_EXECUTE),
        access=access_of(values),
    )
    found = _tagged(form, values["cr3"], cr4)
    barred = zip(found.windows, barred_of(values), strict=True)
    return found._replace(windows=tuple(window._replace(barred=rules) for window, rules in barred))


def _tagged(form: PagingFormat, cr3: int, cr4: int) -> Paging:
    """The two windows of 64-bit mode, without the bits of addresses that LAM leaves to software.

    CR3 has more than the root: PCID or PWT and PCD in 11:0, LAM in 62:61, and in 63 that translations are kept when it
    is written. Under PTI the kernel's and the user's roots lie side by side, the user's where bit 12 is set, and each
    is what CR3 holds in its turn: whichever is given is read.
    """
    asid = cr3 & run(11, 0) if cr4 & PCIDS else None
    user, kernel = (window._replace(root=cr3 & run(51, 12), asid=asid) for window in form.windows)
    tag = run(62, 57) if cr3 & LAM_57 else run(62, 48) if cr3 & LAM_48 else 0
    kernel_tag = (run(62, 57) if cr4 & FIVE_LEVELS else run(62, 48)) if cr4 & LAM_KERNEL else 0
    return Paging(form, (user._replace(ignored=tag), kernel._replace(ignored=kernel_tag)), ("cr3", "cr3"))


def _narrow(values: Mapping[str, int], choose: Chooser) -> Paging:
    """What registers say outside 64-bit mode: PAE, or two levels.

    Raises:
        UnsupportedError: They contradict each other, or it is not said which of the two.
    """
    efer, cr3 = values.get("efer", 0), values["cr3"]
    if "cr4" not in values:
        raise UnsupportedError(f"efer {efer:#x} says that the CPU is not in 64-bit mode (bit 10): give cr4 as well")
    cr4 = values["cr4"]
    if efer & WANTED:
        raise UnsupportedError(f"efer {efer:#x} has LME (bit 8) without LMA (bit 10), and paging is on: of one moment?")
    if cr4 & PCIDS:
        raise UnsupportedError(f"cr4 {cr4:#x} with PCIDs (bit 17) contradicts a CPU that is not in 64-bit mode")
    if cr3 >> 32:
        raise UnsupportedError(f"cr3 {cr3:#x} is wider than 32 bits, and the CPU is not in 64-bit mode: of one CPU?")
    wide = bool(cr4 & WIDE_ENTRIES)
    layer = choose(lambda linux: linux_ia32(wide=wide, linux=linux))
    if wide:
        form = pae(layer, no_execute=bool(efer & NO_EXECUTE), access=access_of(values))
    else:
        form = ia32(layer, large_pages=bool(cr4 & LARGE_PAGES), access=access_of(values))
    (window,) = form.windows
    return Paging(form, (window._replace(root=cr3 & run(31, 5 if wide else 12)),), ("cr3",))


_PROTECTED, _WRITE_PROTECT, _PAT = bit(0), bit(16), 0x0007_0406_0007_0406  # CR0.PE, WP; the PAT after a reset
_SAYS: Final = {
    "x86-64": (WIDE_ENTRIES, LONG_MODE | WANTED),
    "x86-64-la57": (WIDE_ENTRIES | FIVE_LEVELS, LONG_MODE | WANTED),
    "pae": (WIDE_ENTRIES, 0),
    "ia32": (0, 0),
}
"""CR4 and EFER by which each format is known."""


def _write(form: PagingFormat, windows: Sequence[Window]) -> dict[str, int]:
    """What to load; EFER.LMA, which cannot be written, is as it will be. Supervisor's writes heed R/W (CR0.WP)."""
    cr4, efer = _SAYS[form.name]
    rights = next(row.field(RIGHTS) for row in form.last.rows if row.kind is Kind.PRESENT)
    assert rights is not None
    efer |= NO_EXECUTE if rights.mask >> 63 else 0
    cr4 |= 0 if cr4 & WIDE_ENTRIES or len(form.page_sizes) == 1 else LARGE_PAGES
    return {"cr0": PAGING | _WRITE_PROTECT | _PROTECTED, "cr3": windows[0].root, "cr4": cr4, "efer": efer, "pat": _PAT}


REGISTERS: Final = RegisterFile(("cr0", "cr3", "cr4", "efer", "pkru", "pkrs", "pat"), (("cr3",),), _read, _write)
