"""Linux: what it keeps in entries that the MMU does not look at, whatever the architecture.

The numbers of its special swap types are counted down from the end, so they depend on the kernel's version and
configuration (``include/linux/swap.h``): a kernel with CONFIG_DEVICE_PRIVATE has lower ones. Where in an entry a type
and an offset stand is the architecture's (``linux_x86``, ...). What changed from version to version stands in tables,
newest first, here and there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import Bits, Pattern
from pagewalk.formats.fields import SWAP_TYPE, Field
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.rows import Row

__all__ = ["LINUX", "SETTINGS", "Linux", "Setting", "Swap", "SwapTypes", "Version", "swap_rows", "with_files"]

Version: TypeAlias = tuple[int, int]
"""Major and minor."""
_Said = TypeVar("_Said")
if TYPE_CHECKING:
    from collections.abc import Sequence

    Settings: TypeAlias = tuple[tuple[str, bool], ...]
    """What is said of a kernel's configuration."""

NEWEST: Final = (7, 3)
_LAST: Final = 31
"""Types have five bits (MAX_SWAPFILES_SHIFT)."""


class _Counts(NamedTuple):
    """How many types stand for something else than a swap device, besides that of broken pages."""

    migration: int
    device: int = 0
    marker: int = 0
    error: int = 0


_COUNTS: Final = (
    ((6, 15), _Counts(3, 3, 1)),
    ((6, 2), _Counts(3, 4, 1)),
    ((5, 19), _Counts(3, 4, 1, 1)),
    ((5, 14), _Counts(2, 4)),
    ((4, 14), _Counts(2, 2)),
    ((3, 10), _Counts(2)),
)
"""``include/linux/swap.h``, from which version on."""

UFFD_WP, POISONED, GUARD = 1, 2, 4
_MARKS: Final = (
    ((6, 13), UFFD_WP | POISONED | GUARD),
    ((6, 2), UFFD_WP | POISONED),
    ((5, 19), UFFD_WP),
    ((3, 10), 0),
)
"""Bits of a marker's offset that mean something (``include/linux/leafops.h``; before 7.0 ``swapops.h``)."""


class Setting(NamedTuple):
    """Part of a kernel's configuration, or of what it found: entries depend on it from a version on, and until another.

    Attributes:
        option: What it is; as the kernel's Kconfig has it, where it is there.
        since, until: The first version in which it matters, and the first in which it does so no longer.
        usual: Whether it is there where nothing is said, by version, newest first.
        only: The architecture that alone has it; else all do.
    """

    option: str
    since: Version
    until: Version = (NEWEST[0] + 1, 0)
    usual: tuple[tuple[Version, bool], ...] = (((3, 10), True),)
    only: str = ""

    def matters(self, version: Version) -> bool:
        """Whether entries depend on it."""
        return self.since <= version < self.until


SETTINGS: Final = {
    "device_private": Setting("CONFIG_DEVICE_PRIVATE", (4, 14)),
    "pte_marker": Setting("CONFIG_PTE_MARKER", (5, 19), (6, 2)),
    "memory_failure": Setting("CONFIG_MEMORY_FAILURE", (3, 10)),
    "migration": Setting("CONFIG_MIGRATION", (3, 10)),
    "l1tf": Setting("the fix of L1TF", (3, 10), (4, 19), (((4, 18), True), ((3, 10), False)), "x86"),
    "svrsw60t59b": Setting("the CPU's Svrsw60t59b", (7, 0), usual=(((3, 10), False),), only="RISC-V"),
}
"""By the name that ``--os`` takes."""


@dataclass(frozen=True, slots=True)
class SwapTypes:
    """Numbers of the swap types that are no swap device; what a kernel does not have is empty.

    Attributes:
        hwpoison: A page that is broken.
        migration: A page on its way elsewhere: read, (from 5.19 on) read-exclusive, write.
        device: A page in a device's own memory.
        marker: No page at all: what its offset says.
        error: A page that could not be read back (5.19 to 6.1; then a marker).
        marks: Bits of a marker's offset that mean something.
    """

    hwpoison: tuple[int, ...]
    migration: tuple[int, ...]
    device: tuple[int, ...]
    marker: tuple[int, ...]
    error: tuple[int, ...]
    marks: int


@dataclass(frozen=True)
class Linux:
    """A kernel: its version, and what of its configuration shows in page tables.

    Attributes:
        version: Major and minor, 3.10 at least.
        name: As ``--os`` spells it.
        settings: What is said of its configuration, by the names of ``SETTINGS``; what is not is as usual.
    """

    version: Version = NEWEST
    name: str = "linux"
    settings: Settings = ()

    @classmethod
    def running(cls, version: Version, *, device_private: bool) -> Linux:
        """A kernel by its version and configuration (CONFIG_DEVICE_PRIVATE)."""
        return cls(version, settings=(("device_private", device_private),))

    def usually(self, **usual: bool) -> Linux:
        """The kernel with other values for what is not said, as an architecture has them."""
        return replace(self, settings=tuple({**usual, **dict(self.settings)}.items()))

    def on(self, architecture: str) -> Linux:
        """The kernel, on an architecture.

        Raises:
            UnsupportedError: Something is said of it that another architecture alone has.
        """
        for name, _ in self.settings:
            if SETTINGS[name].only not in ("", architecture):
                raise UnsupportedError(f"{name} is of {SETTINGS[name].only} alone, not of {architecture}: leave it out")
        return self

    def at(self, table: Sequence[tuple[Version, _Said]]) -> _Said:
        """What a table by version says, newest first; of older kernels than it knows, the last."""
        return next((said for since, said in table if self.version >= since), table[-1][1])

    @cached_property
    def types(self) -> SwapTypes:
        """Its special swap types: in this order, the last one 31."""
        counts = self.at(_COUNTS)
        numbers = {
            "hwpoison": self.has("memory_failure"),
            "migration": counts.migration * self.has("migration"),
            "device": counts.device * self.has("device_private"),
            "marker": counts.marker * self.has("pte_marker"),
            "error": counts.error,
        }
        first, found = _LAST + 1 - sum(numbers.values()), {}
        for name, many in numbers.items():
            found[name] = tuple(range(first, first + many))
            first += many
        return SwapTypes(**found, marks=self.at(_MARKS))

    def has(self, name: str) -> bool:
        """Whether part of its configuration is there: as it is said, if that matters, else as usual."""
        setting = SETTINGS[name]
        said = dict(self.settings).get(name) if setting.matters(self.version) else None
        return self.at(setting.usual) if said is None else said


LINUX: Final = Linux()
"""The newest, in its usual configuration."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Where an architecture's swap entry keeps what.

    Attributes:
        base: True for every swap entry.
        type, offset: The number of the type, and the offset; ``offset`` as bits of an address, in pages.
        frame_bits: Bits of a frame number in an offset (SWP_PFN_BITS).
        flags: Flags of a swapped or migrating page.
    """

    base: Pattern
    type: Bits
    offset: Bits
    frame_bits: int
    flags: tuple[Field, ...] = ()

    def when(self, type_: int, ones: int = 0, zeros: int = 0) -> tuple[Pattern, ...]:
        """Entries of a type whose offset has some bits set and some clear."""
        low = self.offset.mask & -self.offset.mask
        tested = (ones | zeros) * low
        stored = (ones * low) ^ (tested if self.offset.flip else 0)
        mask, value = self.base
        return (Pattern(mask | self.type.mask | tested, value | self.type.put(type_) | stored),)

    @property
    def frame(self) -> tuple[Bits, ...]:
        """Where the frame of an entry that names one sits: in the low bits of the offset."""
        low = (self.offset.mask & -self.offset.mask).bit_length() - 1
        mask = ((1 << self.frame_bits) - 1) << low & self.offset.mask
        return (self.offset._replace(mask=mask),)


_MARKERS: Final = ((GUARD, Kind.GUARD, ""), (POISONED, Kind.HWPOISON, "poisoned"), (UFFD_WP, Kind.UFFD_WP, ""))
"""Markers by the bit that makes them one, the strongest first."""
_MOVES: Final = {0: (), 2: ("read", "write"), 3: ("read", "read-exclusive", "write")}
"""What migration entries are called, by how many types they have."""


_FILES: Final = (((4, 0), False), ((3, 10), True))
"""Whether pages of files can be mapped in another order than theirs (``remap_file_pages``, before it was emulated:
"drop _PAGE_FILE and pte_file()-related helpers", a series of December 2014)."""


def with_files(swap: Swap, linux: Linux, place: int, offset: tuple[Field, ...] = ()) -> tuple[Swap, tuple[Row, ...]]:
    """The row of a page of such a mapping that is not there: its entry says which of the file it is (``pte_file``).

    Args:
        swap: Where swap entries of the level keep what.
        linux: The kernel.
        place: The bit that tells them from swap entries (_PAGE_FILE).
        offset: The field of the offset in the file, in pages, where that is one number.

    Returns:
        Swap entries, the bit clear, and the row; or what was given, and none.
    """
    if not linux.at(_FILES):
        return swap, ()
    mask, value = swap.base
    row = Row(Kind.OTHER, (Pattern(mask | place, value | place),), fields=offset, name="file")
    return replace(swap, base=Pattern(mask | place, value)), (row,)


def swap_rows(swap: Swap, types: SwapTypes) -> tuple[Row, ...]:
    """The rows of entries that are stored as swap is: markers, special types, and what is left: swap."""
    moving = tuple(field for field in swap.flags if Flag.EXCLUSIVE not in field.flags)  # the type says that
    kinds = _MOVES[len(types.migration)]
    return (
        *(row for number in types.marker for row in _marker_rows(swap, number, types.marks, moving)),
        *(Row(Kind.HWPOISON, swap.when(number), swap.frame) for number in types.hwpoison),
        *(
            Row(Kind.MIGRATION, swap.when(number), swap.frame, moving, name=f"migration {kind}")
            for number, kind in zip(types.migration, kinds, strict=True)
        ),
        *(Row(Kind.OTHER, swap.when(number), name="device") for number in types.device),
        *(Row(Kind.HWPOISON, swap.when(number), name="swap-in error") for number in types.error),
        Row(Kind.SWAP, (swap.base,), (swap.offset,), (*swap.flags, Field(SWAP_TYPE, swap.type.mask))),
    )


def _marker_rows(swap: Swap, number: int, marks: int, fields: tuple[Field, ...]) -> list[Row]:
    """The rows of markers: of those bits of the offset that the kernel knows, the strongest says what it is.

    They have flags as a swapped page has: mremap makes soft-dirty whatever it moves, PAGEMAP_SCAN protects it.
    """
    rows, before = [], 0
    for mark, kind, name in _MARKERS:
        if marks & mark:
            rows.append(Row(kind, swap.when(number, mark, before), fields=fields, name=name))
            before |= mark
    return [*rows, Row(Kind.OTHER, swap.when(number), name="marker", unknown=True)]
