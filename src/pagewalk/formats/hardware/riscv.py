"""RISC-V: Sv39, Sv48 and Sv57, with Svnapot and Svpbmt; with Svrsw60t59b where the operating system uses its bits.

Source: RISC-V privileged architecture, "Sv39: Page-Based 39-bit Virtual-Memory System" and the sections after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pagewalk.formats.access import USER, AccessRule, AccessRules, switched
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import MEMORY, RIGHTS, Field, flag
from pagewalk.formats.flags import Flag, Kind, Rights
from pagewalk.formats.invalidation import Invalidation
from pagewalk.formats.level import Level
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux_riscv import linux_riscv
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.root_page import RootPage
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "INVALIDATION",
    "LEAVES",
    "RSW",
    "STATE",
    "UNASKED",
    "A",
    "D",
    "G",
    "R",
    "U",
    "V",
    "W",
    "X",
    "access_of",
    "rights",
    "riscv",
]

V, R, W, X, U, G, A, D = (bit(place) for place in range(8))
RSW: Final = run(9, 8)
"""Left to software."""
NAPOT, PBMT, RESERVED, NUMBER = bit(63), bit(61, 62), run(60, 54), run(53, 10)
SOFTWARE: Final = bit(59, 60)
"""Svrsw60t59b: left to software as well, in tables' entries too."""
NAPOT_ORDER: Final = 4
"""Svnapot: the one size that is defined, 64 KiB; the low bits of the page number say so."""
NAPOT_SIZE: Final = Pattern(run(13, 10), bit(13))
_WORD: Final = Word()
INVALIDATION: Final = Invalidation(
    "SFENCE.VMA vaddr", "SFENCE.VMA", keeps_absent=True, source='"Supervisor Memory-Management Fence Instruction"'
)
"""Of one hart. What was not valid may be kept too, unless the hart has Svvptc."""


def rights() -> Field:
    """The U bit: user mode needs it; supervisor mode reads and writes there (``sstatus.SUM``), but never executes.

    W needs R.
    """
    meanings = []
    for user in (U, 0):
        for bits in (R, R | W, R | X, R | W | X, X):
            data = Rights.KERNEL_READ * bool(bits & R) | Rights.KERNEL_WRITE * bool(bits & W)
            execute = Rights.KERNEL_EXEC * bool(bits & X)
            granted = data | (data | execute) << 3 if user else data | execute
            meanings.append((bits | user, Rights(granted)))
    names = ((R, "R"), (W, "W"), (X, "X"), (U, "U"))
    return Field(RIGHTS, R | W | X | U, tuple(meanings), names=names)


STATE: Final = (flag("global", 5, Flag.GLOBAL), flag("accessed", 6, Flag.ACCESSED), flag("dirty", 7, Flag.DIRTY))
_MEMORY: Final = Field(MEMORY, PBMT, ((0, 0), (bit(61), 1), (bit(62), 2)), strict=True)
"""Svpbmt: PMA (what the memory itself is), NC, IO."""
LEAVES: Final = (Pattern(V | R, V | R), Pattern(V | R | W | X, V | X))
"""A page can be read, or only executed."""


_AGES: Final = (
    AccessRule(
        "ADUE",
        Rights.all(),
        strip=Rights.all(),
        lacking=Flag.ACCESSED,
        register="menvcfg",
        bit=61,
        on=False,
        why="a page whose A is clear faults (Svade)",
        source="Virtual Address Translation Process, step 9",
    ),
    AccessRule(
        "ADUE",
        Rights.KERNEL_WRITE | Rights.USER_WRITE,
        strip=Rights.KERNEL_WRITE | Rights.USER_WRITE,
        lacking=Flag.DIRTY,
        register="menvcfg",
        bit=61,
        on=False,
        why="a write to a page whose D is clear faults (Svade)",
        source="Virtual Address Translation Process, step 9",
    ),
)
UNASKED: Final = AccessRules((), tuple(replace(rule, register="") for rule in _AGES))
"""What holds where no register is known: software sets A and D (Svade), and supervisor mode uses the user's pages."""
_RULES: Final = (
    AccessRule(
        "MXR",
        Rights.USER_EXEC,
        add=Rights.USER_READ | Rights.KERNEL_READ,
        register="sstatus",
        bit=19,
        why="what can be executed can be read",
        source="Memory Privilege in mstatus",
    ),
    AccessRule(
        "MXR",
        Rights.KERNEL_EXEC,
        add=Rights.KERNEL_READ,
        register="sstatus",
        bit=19,
        why="what can be executed can be read",
        source="Memory Privilege in mstatus",
    ),
    AccessRule(
        "SUM",
        USER,
        strip=Rights.KERNEL_READ | Rights.KERNEL_WRITE,
        register="sstatus",
        bit=18,
        on=False,
        why="what the user may access, supervisor mode does not read or write",
        source="Memory Privilege in mstatus",
    ),
)
"""What bits of ``sstatus`` make of rights. MXR comes first: SUM takes from the user's pages what it gave."""


def access_of(values: Mapping[str, int]) -> AccessRules:
    """The rules that ``sstatus`` and ``menvcfg`` switch on."""
    ages = switched(_AGES, values) if "menvcfg" in values else UNASKED.checks
    return AccessRules(switched(_RULES, values), ages)


def riscv(levels: int = 3, layer: Layer | None = None, *, access: AccessRules = UNASKED) -> PagingFormat:
    """The paging format of RISC-V with 64-bit entries.

    Args:
        levels: 3, 4 or 5: Sv39, Sv48, Sv57.
        layer: The operating system's part: Linux's unless given. One that keeps something in the bits of Svrsw60t59b
            says that the CPU has it; else they are reserved.
        access: What ``sstatus`` and ``menvcfg`` make of rights.

    Raises:
        ValueError: Another number of levels.
    """
    if levels not in (3, 4, 5):
        raise ValueError(f"RISC-V has 3, 4 or 5 levels of 64-bit entries, not {levels}")
    layer = layer or linux_riscv()
    half = 1 << 9 * levels + 11
    return PagingFormat(
        name=f"riscv-sv{9 * levels + 12}",
        word=_WORD,
        hardware=tuple(_level(at, layer, access) for at in reversed(range(levels))),
        windows=(Window(0, half), Window((1 << 64) - half, 1 << 64, layered=not layer.user_only)),
        physical_bits=56,
        system=layer.name,
        memory_types=("", "NC", "IO"),
        invalidation=INVALIDATION,
        root_page=RootPage((-1, -2)),  # Linux: its image and its modules
    )


def _level(number: int, layer: Layer, access: AccessRules) -> Level:
    """One level, by the manual's number: 0 is the last."""
    shift, last = 12 + 9 * number, not number
    frame = (Bits(NUMBER & run(63, shift - 2), up=2),)
    state = (rights(), *STATE, _MEMORY)
    software = SOFTWARE if layer.owned & SOFTWARE else 0
    reserved = RESERVED & ~software
    rows = list(layer.absent(Place(last, True, frame, state, NAPOT_ORDER if last else 0)))
    rows.append(Row(Kind.RESERVED, (Pattern(V | R | W, V | W),)))  # W without R
    if last:
        rows.append(Row(Kind.RESERVED, (Pattern(V | R | W | X, V),)))  # no table is below
    else:
        must, free = Pattern(reserved | A | D | U | NAPOT | PBMT, 0), G | RSW | software
        rows.append(Row(Kind.TABLE, (Pattern(V | R | W | X, V),), (Bits(NUMBER, up=2),), (), must, ignored=free))
    below = NUMBER & run(shift - 3, 10)  # a page is aligned to its size
    must = Pattern(reserved | below | (0 if last else NAPOT), 0)
    ignored = (RSW | software) & ~layer.owned
    page = Row(Kind.PRESENT, LEAVES, frame, (*state, *layer.state), must, ignored=ignored)
    rows += _napot(page) if last else [page]
    return Level(f"level {number}", shift, 9, tuple(rows), _WORD, access)


def _napot(page: Row) -> list[Row]:
    """Pages of 64 KiB, whose 16 entries are alike; what is none of them though it says so; and pages that are one."""
    mask, value = NAPOT_SIZE.mask | NAPOT, NAPOT_SIZE.value | NAPOT
    large = tuple(Pattern(one.mask | mask, one.value | value) for one in page.when)
    odd = tuple(Pattern(one.mask | NAPOT, one.value | NAPOT) for one in page.when)
    alone = tuple(Pattern(one.mask | NAPOT, one.value) for one in page.when)
    return [
        replace(page, when=large, address=(Bits(NUMBER & run(63, 14), up=2),), order=NAPOT_ORDER),
        Row(Kind.RESERVED, odd),
        replace(page, when=alone),
    ]
