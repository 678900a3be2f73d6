"""arm64: stage 1 of VMSAv8-64, with 4, 16 and 64 KiB granules, LPA and LPA2.

Source: Arm ARM (DDI 0487) D8.3 (descriptors), D8.4 (rights), D8.6 (memory types), D8.7 (contiguous groups).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import MEMORY, RIGHTS, Field, flag, number
from pagewalk.formats.flags import Flag, Kind, Rights
from pagewalk.formats.hardware.arm64_access import (
    SECOND,
    SYSTEM,
    UNASKED,
    access_of,
    barred_of,
    memory_types,
    refuse_unread,
)
from pagewalk.formats.invalidation import Invalidation
from pagewalk.formats.level import Level
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux_arm64 import linux_arm64
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.registers import Chooser, Paging, RegisterFile
from pagewalk.formats.root_page import RootPage
from pagewalk.formats.rows import Row, grouped
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pagewalk.formats.access import AccessRules

__all__ = ["REGISTERS", "arm64", "window_of", "windows_of"]

VALID, TYPE, AP1, AP2, SH, AF, NG = bit(0), bit(1), bit(6), bit(7), run(9, 8), bit(10), bit(11)
GP, DBM, CONTIGUOUS, PXN, UXN = (bit(place) for place in range(50, 55))
SOFTWARE: Final = run(58, 55)
"""Bits of a page's descriptor that the hardware leaves to software."""
NS: Final = bit(5)
"""Like NSTable (bit 63) of a table: ignored in Non-secure state."""

GRANULES: Final = {12: "4k", 14: "16k", 16: "64k"}
BLOCKS: Final = {12: {2: 4, 1: 4}, 14: {2: 5}, 16: {2: 5}}
"""Which levels above the last have blocks, and log2 of the entries of a contiguous group there (D8.7.1)."""
WIDE_BLOCKS: Final = {12: 0, 14: 1, 16: 1}
"""The level that has blocks as well where addresses have 52 bits."""
GROUPS: Final = {12: 4, 14: 7, 16: 5}
"""log2 of the pages of a contiguous group of the last level."""
_WORD: Final = Word()
_SLOTS: Final = (0, -1, -5, -9)
_ROOT_PAGES: Final = {
    (shift, wide): RootPage((0, -1) if shift == 12 else (0, 1, -1), below=_SLOTS) if wide else RootPage(_SLOTS)
    for shift in (12, 14)
    for wide in (False, True)
}
"""Linux: of its window, a program is in the first slot and its stack in the last (of 52 bits, of which it gets 48, in
the first slot of 4K, and in the first two of 16K); of the kernel's, the linear map is in the first, unless randomised,
and fixed things near the end."""

_INVALIDATION: Final = Invalidation(
    "TLBI VAAE1IS",
    "TLBI VMALLE1IS",
    everywhere=True,
    before=("DSB ISHST",),
    after=("DSB ISH", "ISB"),
    breaks=True,
    source="Arm ARM D8.14, D8.16.1",
)

_STRIPS: Final = (
    (bit(59), "PXNTable", Rights.KERNEL_EXEC),
    (bit(60), "UXNTable", Rights.USER_EXEC),
    (bit(61), "APTable[0]", Rights.USER_READ | Rights.USER_WRITE),
    (bit(62), "APTable[1]", Rights.KERNEL_WRITE | Rights.USER_WRITE),
)
"""D8.4.2: what each bit of a table's descriptor takes from everything below."""


def _page_rights(hardware_dirty: bool) -> Field:
    """D8.4.1: AP[2] is read-only, AP[1] lets EL0 in. With TCR.HD the hardware clears AP[2] where DBM is set: D8.5.2."""
    meanings = []
    modifiers = (0, DBM) if hardware_dirty else (0,)
    for uxn, pxn, modifier, read_only, user in product((0, UXN), (0, PXN), modifiers, (0, AP2), (0, AP1)):
        write = not read_only or modifier
        rights = Rights.KERNEL_READ | (Rights.KERNEL_WRITE if write else 0) | (0 if pxn else Rights.KERNEL_EXEC)
        rights |= (Rights.USER_READ | (Rights.USER_WRITE if write else 0)) if user else 0
        meanings.append((uxn | pxn | modifier | read_only | user, Rights(rights | (0 if uxn else Rights.USER_EXEC))))
    names = ((AP1, "AP[1]"), (AP2, "AP[2]"), (PXN, "PXN"), (UXN, "UXN"))
    return Field(RIGHTS, AP1 | AP2 | PXN | UXN | (DBM if hardware_dirty else 0), tuple(meanings), names=names)


def _table_rights() -> Field:
    """D8.4.2: APTable, UXNTable and PXNTable take rights away from everything below."""
    meanings = []
    for chosen in product((False, True), repeat=len(_STRIPS)):
        bits, rights = 0, Rights.all()
        for taken, (place, _, stripped) in zip(chosen, _STRIPS, strict=True):
            bits, rights = (bits | place, rights & ~stripped) if taken else (bits, rights)
        meanings.append((bits, rights))
    return Field(RIGHTS, run(62, 59), tuple(meanings), names=tuple((place, name) for place, name, _ in _STRIPS))


_HARDWARE_DIRTY: Final = Field(
    "hardware dirty",
    AP2 | DBM,
    ((0, Flag(0)), (DBM, Flag.DIRTY), (AP2, Flag(0)), (AP2 | DBM, Flag(0))),
    derived=True,
)
"""D8.5.2: the hardware clears AP[2] of a page with DBM when it is written."""


def arm64(
    page_shift: int = 12,
    bits: int = 48,
    layer: Layer | None = None,
    *,
    wide: bool = False,
    hierarchical: bool = True,
    hardware_dirty: bool = False,
    access: AccessRules = UNASKED,
) -> PagingFormat:
    """The paging format of arm64.

    Args:
        page_shift: log2 of the granule: 12, 14 or 16.
        bits: Width of the windows that it has unasked; registers say others.
        layer: The operating system's part: Linux's unless given.
        wide: Addresses of 52 bits: LPA2 (TCR.DS) with 4 and 16 KiB, LPA with 64 KiB.
        hierarchical: Tables take rights away; not so with TCR.HPD0 and HPD1.
        hardware_dirty: The hardware makes clean pages writable (TCR.HD).
        access: What SCTLR_EL1, TCR_EL1 and PSTATE make of rights.

    Raises:
        ValueError: Another granule, or a width that it cannot have.
    """
    most = 52 if wide else 48
    if page_shift not in GRANULES or not 25 <= bits <= most:
        raise ValueError(
            f"arm64 has granules of 4, 16 and 64 KiB, and 25 to {most} bits, not {1 << page_shift:#x}, {bits}"
        )
    layer = layer or linux_arm64(page_shift)
    top = -1 if page_shift == 12 and wide else 0
    rights = _page_rights(hardware_dirty), _table_rights() if hierarchical else None
    levels = tuple(_level(page_shift, at, layer, rights, wide=wide, access=access) for at in range(top, 4))
    levels = tuple(level for level in levels if level.shift < most)
    upper = window_of(levels, (1 << 64) - (1 << bits), bits, layered=not layer.user_only)
    return PagingFormat(
        name=f"arm64-{GRANULES[page_shift]}" + (("-lpa" if page_shift == 16 else "-lpa2") if wide else ""),
        word=_WORD,
        hardware=levels,
        windows=(window_of(levels, 0, bits), upper),
        physical_bits=most,
        system=layer.name,
        root_page=_ROOT_PAGES.get((page_shift, wide)),
        invalidation=_INVALIDATION,
    )


def window_of(levels: tuple[Level, ...], start: int, bits: int, ignored: int = 0, *, layered: bool = True) -> Window:
    """The window of so many bits from an address on: where the descent begins, how wide its first table is."""
    first = next(at for at, level in enumerate(levels) if level.shift < bits)
    return Window(start, start + (1 << bits), 0, first, bits - levels[first].shift, ignored, layered)


def _address(page_shift: int, shift: int, wide: bool) -> tuple[Bits, ...]:
    """D8.3.1: where a table's or a page's address sits."""
    if not wide:
        return (Bits(run(47, shift)),)
    if page_shift == 16:
        return Bits(run(47, shift)), Bits(run(15, 12), up=36)
    return Bits(run(49, shift)), Bits(SH, up=42)


def _level(
    page_shift: int, number_: int, layer: Layer, rights: tuple[Field, Field | None], *, wide: bool, access: AccessRules
) -> Level:
    """One level, by the manual's number, with the rights of its pages and of its tables."""
    shift = page_shift + (page_shift - 3) * (3 - number_)
    last, share = number_ == 3, wide and page_shift != 16
    groups = {**BLOCKS[page_shift], **({WIDE_BLOCKS[page_shift]: 0} if wide else {}), 3: GROUPS[page_shift]}
    of_pages, of_tables = rights
    state: tuple[Field, ...] = (
        of_pages,
        number(MEMORY, 4, 2),  # AttrIndx
        flag("accessed", 10, Flag.ACCESSED),
        flag("global", 11, Flag.GLOBAL, clear=True),
        _HARDWARE_DIRTY,
    )
    state += () if of_pages.mask & DBM else (number("dirty bit modifier", 51, 51),)
    place = Place(last, number_ in groups, _address(page_shift, shift, wide), state, groups.get(number_, 0))
    rows = list(layer.absent(place))
    if last:
        rows.append(Row(Kind.RESERVED, (Pattern(VALID | TYPE, VALID),)))
        rows += _pages(place, layer, Pattern(VALID | TYPE, VALID | TYPE), share, run(shift - 1, 12))
    else:
        fields = () if of_tables is None else (of_tables,)
        frame = _address(page_shift, page_shift, wide)
        ignored = bit(63) | run(58, 48) | run(page_shift - 1, 2) | (0 if fields else run(62, 59))
        ignored &= ~(AF | sum(part.mask for part in frame))
        rows.append(Row(Kind.TABLE, (Pattern(VALID | TYPE, VALID | TYPE),), frame, fields, sets=AF, ignored=ignored))
        block = Pattern(VALID | TYPE, VALID)
        none = [Row(Kind.RESERVED, (block,))]
        rows += _pages(place, layer, block, share, run(shift - 1, 12)) if place.pages else none
    return Level(f"level {number_}", shift, page_shift - 3, tuple(rows), _WORD, access)


def _pages(place: Place, layer: Layer, when: Pattern, share: bool, below: int) -> list[Row]:
    """Pages or blocks: contiguous groups, and those that stand alone; bits ``below`` their address are RES0."""
    fields = (*place.fields, *layer.state)
    own = sum(part.mask for part in place.frame) | sum(field.mask for field in layer.state)
    ignored = run(63, 59) | SOFTWARE | GP | run(49, 48) | NS | below | (0 if place.order else CONTIGUOUS)
    one = Row(Kind.PRESENT, (when,), place.frame, fields, sets=0 if share else SH, ignored=ignored & ~own)
    return grouped(one, CONTIGUOUS, place.order)


# -- registers ---------------------------------------------------------------------------------------------------------


class _Half(NamedTuple):
    """Where TCR_EL1 keeps what it says of one TTBR (D24.2).

    Attributes:
        name: The TTBR's.
        size: The first bit of TxSZ.
        granule: The first bit of TGx; ``granules`` are its encodings.
        off: EPDx: no walks.
        flat: HPDx: tables take no rights away.
        tagged: TBIx: the top byte of an address is not looked at.
        barred: The place of E0PDx: EL0 has no access.
        upper: It translates the end of the address space, not the beginning.
    """

    name: str
    size: int
    granule: int
    granules: dict[int, int]
    off: int
    flat: int
    tagged: int
    barred: int
    upper: bool


_HALVES: Final = (
    _Half("ttbr0_el1", 0, 14, {0: 12, 1: 16, 2: 14}, bit(7), bit(41), bit(37), 55, upper=False),
    _Half("ttbr1_el1", 16, 30, {1: 14, 2: 12, 3: 16}, bit(23), bit(42), bit(38), 56, upper=True),
)
HD, DS, WIDEST = bit(40), bit(59), 6  # TCR_EL1.HD, TCR_EL1.DS; TCR_EL1.IPS of 52 bits
A1, AS = bit(22), bit(36)  # TCR_EL1: TTBR1_EL1 has the ASID; it has 16 bits


def _read(values: Mapping[str, int], choose: Chooser) -> Paging:
    """What the TTBRs say, by TCR_EL1.

    Raises:
        UnsupportedError: A reserved granule or width, walks that are off, halves that differ in their formats, or a
            scheme that is not read.
    """
    refuse_unread(values)
    tcr = values["tcr_el1"]
    halves = [half for half in _HALVES if half.name in values and not tcr & half.off]
    if not halves:
        raise UnsupportedError(
            f"tcr_el1 {tcr:#x} switches off the walks of each register that is given: give the other"
        )
    kinds = {(_granule(half, tcr), not tcr & half.flat) for half in halves}
    if len(kinds) > 1:
        first, second = (half.name for half in halves)
        raise UnsupportedError(
            f"tcr_el1 {tcr:#x} gives {first} and {second} different formats: open them one by one, one register each"
        )
    ((page_shift, hierarchical),) = kinds
    wide = bool(tcr & DS) if page_shift < 16 else tcr >> 32 & 7 == WIDEST
    layer = choose(lambda linux: linux_arm64(page_shift, linux))
    form = arm64(
        page_shift,
        layer=layer,
        wide=wide,
        hierarchical=hierarchical,
        hardware_dirty=bool(tcr & HD),
        access=access_of(values),
    )
    form = replace(form, memory_types=memory_types(values.get("mair_el1")))
    windows = tuple(_window(form, half, values) for half in halves)
    return Paging(form, windows, tuple(half.name for half in halves))


def _granule(half: _Half, tcr: int) -> int:
    """log2 of the granule of one half."""
    code = tcr >> half.granule & 3
    if code not in half.granules:
        which = half.name[4]
        raise UnsupportedError(f"tcr_el1 {tcr:#x} has a reserved granule, TG{which} = {code}: is it of this CPU?")
    return half.granules[code]


def _window(form: PagingFormat, half: _Half, values: Mapping[str, int]) -> Window:
    """The window of one half. Roots are aligned to their own size; of 52 bits, 51:48 are in bits 5:2."""
    ttbr, tcr = values[half.name], values["tcr_el1"]
    bits = 64 - (tcr >> half.size & 63)
    if not 16 <= bits <= form.physical_bits:
        which = half.name[4]
        raise UnsupportedError(f"tcr_el1 {tcr:#x} has T{which}SZ = {64 - bits}: a window of {bits} bits cannot be")
    ignored = run(63, 56) if tcr & half.tagged else 0
    start = (1 << 64) - (1 << bits) if half.upper else 0
    window = window_of(form.hardware, start, bits, ignored, layered=form.windows[half.upper].layered)
    size = form.levels_of(window)[0].table_bytes
    wide = form.physical_bits > 48
    base = ttbr & run(47, 0) & -max(size, 64 if wide else 2)
    root = base | (ttbr >> 2 & 15) << 48 if wide else base
    asid = values.get("ttbr1_el1" if tcr & A1 else "ttbr0_el1")
    number = None if asid is None else asid >> 48 & (0xFFFF if tcr & AS else 0xFF)
    return window._replace(root=root, barred=barred_of(half.barred, values), asid=number)


_CACHED_WALKS, _WIDTH = 0b110101, 5
"""SH, ORGN and IRGN of a half, inner shareable and write-back; TCR_EL1.IPS of 48 bits, or the CPU's if it has less."""
_MAIR: Final = 0x04_44FF
"""Attributes 0 to 3: write-back, non-cacheable, device nGnRE, device nGnRnE."""


def _write(form: PagingFormat, windows: Sequence[Window]) -> dict[str, int]:
    """What to load; the walks of a half that has no window are off."""
    shift, wide = form.page_size.bit_length() - 1, form.physical_bits > 48
    flat = not any(row.field(RIGHTS) for row in form.hardware[0].rows if row.kind is Kind.TABLE)
    dirty = any(field.mask & DBM for row in form.last.rows for field in row.fields if field.name == RIGHTS)
    tcr = (WIDEST if wide else _WIDTH) << 32 | (DS if wide and shift < 16 else 0) | (HD if dirty else 0)
    values = {"mair_el1": _MAIR}
    for half in _HALVES:
        window = next((window for window in windows if window.start >> 63 == half.upper), None)
        bits = (window or form.windows[half.upper]).end - (window or form.windows[half.upper]).start
        granule = next(code for code, has in half.granules.items() if has == shift)
        tcr |= granule << half.granule | _CACHED_WALKS << half.size + 8 | (65 - bits.bit_length()) << half.size
        tcr |= (half.flat if flat else 0) | (half.off if window is None else half.tagged if window.ignored else 0)
        if window is not None:
            values[half.name] = window.root & run(47, 0) | (window.root >> 48) << 2
    return {"tcr_el1": tcr, **values}


def windows_of(form: PagingFormat, bits: tuple[int, ...]) -> tuple[Window, ...]:
    """The two windows of so many bits each.

    Raises:
        ValueError: They cannot be so wide.
    """
    if len(bits) != 2 or not all(25 <= some <= form.physical_bits for some in bits):
        told = " and ".join(map(str, bits))
        raise ValueError(f"the two windows of {form.name} have 25 to {form.physical_bits} bits each, not {told}")
    wanted = zip((0, (1 << 64) - (1 << bits[1])), bits, form.windows, strict=True)
    return tuple(window_of(form.hardware, start, some, layered=old.layered) for start, some, old in wanted)


REGISTERS: Final = RegisterFile(
    ("ttbr0_el1", "ttbr1_el1", "tcr_el1", "mair_el1", *SYSTEM, *SECOND),
    (("tcr_el1",), ("ttbr0_el1", "ttbr1_el1")),
    _read,
    _write,
)
