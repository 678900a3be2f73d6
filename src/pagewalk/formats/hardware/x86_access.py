"""x86: what control registers and protection keys make of rights, and what the page attribute table calls memory.

Supervisor accesses are taken for explicit ones with EFLAGS.AC clear: nobody has switched SMAP off for a moment.

Source: Intel SDM vol. 3A, 5.6 (rights, protection keys) and 13.12 (PAT).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pagewalk.formats.access import USER, AccessRule, AccessRules, switched
from pagewalk.formats.bits import bit
from pagewalk.formats.flags import Rights

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["access_of", "barred_of", "memory_types"]

_DATA: Final = Rights.KERNEL_READ | Rights.KERNEL_WRITE
_RULES: Final = (
    AccessRule(
        "SMEP",
        USER,
        strip=Rights.KERNEL_EXEC,
        register="cr4",
        bit=20,
        why="what the user may access, the kernel does not execute",
        source="SDM 5.6.1",
    ),
    AccessRule(
        "SMAP",
        USER,
        strip=_DATA,
        register="cr4",
        bit=21,
        why="what the user may access, the kernel does not read or write",
        source="SDM 5.6.1",
    ),
    AccessRule(
        "WP",
        Rights.KERNEL_READ,
        add=Rights.KERNEL_WRITE,
        register="cr0",
        bit=16,
        on=False,
        why="the kernel writes whatever it may read",
        source="SDM 5.6.1",
    ),
)
_LASS: Final = AccessRule(
    "LASS",
    Rights.all(),
    register="cr4",
    bit=27,
    source="SDM vol. 3A, linear-address space separation",
)
_BARRED: Final = (
    replace(_LASS, strip=Rights.KERNEL_EXEC, why="the kernel executes nothing in the user's half"),
    replace(_LASS, strip=USER, why="the user accesses nothing in the kernel's half"),
)
_BARRED_DATA: Final = replace(
    _LASS, strip=_DATA, why="with SMAP, the kernel reads and writes nothing in the user's half"
)
_SMAP: Final = bit(21)
_WRITE_PROTECT, _USER_KEYS, _KERNEL_KEYS = bit(16), bit(22), bit(24)  # CR0.WP; CR4.PKE, CR4.PKS
_KEYS: Final = 16


def access_of(values: Mapping[str, int]) -> AccessRules:
    """The rules that registers switch on. PKRU without CR4 is taken for one that is in use, PKRS is not."""
    cr4 = values.get("cr4", _USER_KEYS)
    protects = bool(values.get("cr0", _WRITE_PROTECT) & _WRITE_PROTECT)
    checks: tuple[AccessRule, ...] = ()
    if cr4 & _KERNEL_KEYS:  # first: what PKRU takes away still makes a page the user's
        checks += switched(_key_rules("pkrs", protects=protects), values)
    if cr4 & _USER_KEYS:
        checks += switched(_key_rules("pkru", protects=protects), values)
    return AccessRules(switched(_RULES, values), checks)


def barred_of(values: Mapping[str, int]) -> tuple[tuple[AccessRule, ...], tuple[AccessRule, ...]]:
    """The rules by which 64-bit mode refuses accesses by their addresses: in the user's half, and in the kernel's."""
    user, kernel = (switched((rule,), values) for rule in _BARRED)
    data = switched((_BARRED_DATA,), values) if values.get("cr4", 0) & _SMAP else ()
    return (*user, *data), kernel


def _key_rules(register: str, *, protects: bool) -> tuple[AccessRule, ...]:
    """Two bits a key (SDM 5.6.2): no data access, no writes; the kernel's writes only with CR0.WP.

    PKRU is of the user's pages, whoever accesses them; PKRS of the others.
    """
    where, without = (USER, Rights(0)) if register == "pkru" else (Rights.all(), USER)
    data = _DATA | Rights.USER_READ | Rights.USER_WRITE
    write = Rights.USER_WRITE | (Rights.KERNEL_WRITE if protects else 0)
    return tuple(
        AccessRule(
            f"{name}{key}",
            where,
            strip=Rights(strip),
            without=without,
            key=key,
            register=register,
            bit=2 * key + place,
            why=f"no {what} where the page's key is {key}",
            source="SDM 5.6.2",
        )
        for key in range(_KEYS)
        for place, name, strip, what in ((0, "AD", data, "data access"), (1, "WD", write, "writes"))
    )


# -- memory types ------------------------------------------------------------------------------------------------------

_TYPES: Final = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}


def memory_types(pat: int | None) -> tuple[str, ...]:
    """The memory type of each of the PAT's eight entries (SDM table 13-10); nothing where it is not known."""
    if pat is None:
        return ()
    types = (pat >> 8 * index & 7 for index in range(8))
    return tuple(_TYPES.get(number, f"type {number}") for number in types)
