"""arm64: what SCTLR_EL1, TCR_EL1 and PSTATE make of rights, and what MAIR_EL1 calls memory.

Source: Arm ARM (DDI 0487) D8.4 (rights), D8.5 (hardware's access flag), D8.6.2 and D24.2 (MAIR_EL1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pagewalk.errors import UnsupportedError
from pagewalk.formats.access import USER, AccessRule, AccessRules, switched
from pagewalk.formats.bits import bit
from pagewalk.formats.flags import Flag, Rights

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECOND", "SYSTEM", "UNASKED", "access_of", "barred_of", "memory_types", "refuse_unread"]

SYSTEM: Final = ("sctlr_el1", "pstate", "cpsr", "pan")
"""Registers that say how rights are read, besides TCR_EL1. PSTATE is gdb's cpsr; PAN is one bit of it, in its place."""
SECOND: Final = ("tcr2_el1", "pir_el1", "pire0_el1", "por_el0", "por_el1")
"""Registers of schemes that are not read: they are known so that whoever gives them is told."""
_UNREAD: Final = {
    0: ("PnCH", "bit 52 of an entry protects it, and is no contiguous bit"),
    1: ("PIE", "rights follow from permission indexes (S1PIE)"),
    2: ("E0POE", "overlays take rights from EL0's pages (S1POE)"),
    3: ("POE", "overlays take rights from EL1's pages (S1POE)"),
    4: ("AIE", "memory types have four bits"),
    5: ("D128", "entries have 16 bytes"),
    14: ("DisCH0", "entries of TTBR0_EL1 have no contiguous bit"),
    15: ("DisCH1", "entries of TTBR1_EL1 have no contiguous bit"),
}
"""Bits of TCR2_EL1 that make entries mean something else (Arm ARM D24.2): FEAT_S1PIE, S1POE, AIE, D128, THE."""
_DATA: Final = Rights.KERNEL_READ | Rights.KERNEL_WRITE
_ACCESSIBLE: Final = Rights.USER_READ | Rights.USER_WRITE
_E0PD0: Final = 55
_MMU_ON, _PAN, _EPAN = bit(0), bit(22), bit(57)

_ALWAYS: Final = AccessRule(
    "EL0 may write",
    Rights.USER_WRITE,
    strip=Rights.KERNEL_EXEC,
    why="what EL0 may write, EL1 does not execute",
    source="Arm ARM D8.4.1",
)
_NEVER_WRITTEN: Final = (
    AccessRule(
        "WXN",
        Rights.KERNEL_WRITE,
        strip=Rights.KERNEL_EXEC,
        register="sctlr_el1",
        bit=19,
        why="what EL1 may write, it does not execute",
        source="Arm ARM D8.4.1",
    ),
    AccessRule(
        "WXN",
        Rights.USER_WRITE,
        strip=Rights.USER_EXEC,
        register="sctlr_el1",
        bit=19,
        why="what EL0 may write, it does not execute",
        source="Arm ARM D8.4.1",
    ),
)
_ACCESS_FLAG: Final = AccessRule(
    "HA",
    Rights.all(),
    strip=Rights.all(),
    lacking=Flag.ACCESSED,
    register="tcr_el1",
    bit=39,
    on=False,
    why="a page whose access flag (AF) is clear faults",
    source="Arm ARM D8.5.1",
)
UNASKED: Final = AccessRules((_ALWAYS,), (replace(_ACCESS_FLAG, register=""),))
"""What holds where no register is known: an access flag that is clear faults, as on every CPU before FEAT_HAFDBS."""


def access_of(values: Mapping[str, int]) -> AccessRules:
    """The rules that registers switch on.

    Raises:
        UnsupportedError: SCTLR_EL1 says that nothing is translated; PAN has bits that are none of it.
    """
    if values.get("pan", 0) & ~_PAN:
        raise UnsupportedError(f"pan {values['pan']:#x} is no value of PAN: that is {_PAN:#x} (bit 22) or 0")
    sctlr = values.get("sctlr_el1", _MMU_ON)
    if not sctlr & _MMU_ON:
        raise UnsupportedError(f"sctlr_el1 {sctlr:#x} says that translation is off (bit 0): take it at a later moment")
    rules = (_ALWAYS, *switched(_NEVER_WRITTEN, values), *switched(_private(values), values))
    return AccessRules(rules, switched((_ACCESS_FLAG,), values))


def refuse_unread(values: Mapping[str, int]) -> None:
    """Refuse what makes entries mean something that is not read here, rather than read them wrongly.

    Raises:
        UnsupportedError: TCR2_EL1 switches on such a scheme, or registers of one are given without it.
    """
    tcr2 = values.get("tcr2_el1", 0)
    for place, (name, what) in _UNREAD.items():
        if tcr2 >> place & 1:
            raise UnsupportedError(
                f"tcr2_el1 {tcr2:#x} has {name} (bit {place}): {what}, which is not read; "
                "without tcr2_el1 the rest can be seen, this taken wrongly"
            )
    given = [name for name in SECOND[1:] if name in values]
    if given and "tcr2_el1" not in values:
        raise UnsupportedError(f"{given[0]} matters by what tcr2_el1 says: give that as well, or leave {given[0]} out")


def barred_of(place: int, values: Mapping[str, int]) -> tuple[AccessRule, ...]:
    """The rule by which EL0 has no access to a half, by the bit of TCR_EL1 that says so: E0PD0 or E0PD1 (FEAT_E0PD)."""
    rule = AccessRule(
        f"E0PD{place - _E0PD0}",
        Rights.all(),
        strip=USER,
        register="tcr_el1",
        bit=place,
        why="EL0 accesses nothing in this half",
        source="Arm ARM D24.2",
    )
    return switched((rule,), values)


def _private(values: Mapping[str, int]) -> tuple[AccessRule, ...]:
    """PSTATE.PAN, by the register that tells of it. With EPAN, pages that EL0 may only execute are meant too."""
    enhanced = bool(values.get("sctlr_el1", 0) & _EPAN)
    return tuple(
        AccessRule(
            "PAN",
            USER if enhanced else _ACCESSIBLE,
            strip=_DATA,
            register=register,
            bit=22,
            why="what EL0 may access, EL1 does not read or write",
            source="Arm ARM D8.4.1",
        )
        for register in SYSTEM[1:]
    )


# -- memory types ------------------------------------------------------------------------------------------------------

_DEVICES: Final = {0x00: "device nGnRnE", 0x04: "device nGnRE", 0x08: "device nGRE", 0x0C: "device GRE"}
_CACHED: Final = ("write-through transient", "write-back transient", "write-through", "write-back")
"""By the upper two bits of half an attribute, where it is not ``_UNCACHED``."""
_UNCACHED, _TAGGED = 0b0100, 0xF0


def memory_types(mair: int | None) -> tuple[str, ...]:
    """The memory type that each of MAIR_EL1's eight attributes is; nothing where it is not known."""
    return () if mair is None else tuple(_memory_type(mair >> 8 * index & 255) for index in range(8))


def _memory_type(attribute: int) -> str:
    """One attribute, in words: a byte, outer caches in its upper half and inner ones in the lower."""
    outer, inner = divmod(attribute, 16)
    if attribute in _DEVICES:
        return _DEVICES[attribute]
    if attribute == _TAGGED:
        return "normal tagged write-back"
    if not outer or not inner:
        return f"attribute {attribute:#04x}"
    if outer == inner:
        return f"normal {_cache(outer)}"
    return f"normal, outer {_cache(outer)}, inner {_cache(inner)}"


def _cache(half: int) -> str:
    """How a cache treats memory."""
    return "non-cacheable" if half == _UNCACHED else _CACHED[half >> 2]
