"""Linux: what it keeps in entries that the MMU does not look at, whatever the architecture.

The numbers of its special swap types are counted down from the end, so they depend on the kernel's version and
configuration (``include/linux/swap.h``): a kernel with CONFIG_DEVICE_PRIVATE has lower ones. Where in an entry a type
and an offset stand is the architecture's (``linux_x86``, ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pagewalk.formats.bits import Bits, Pattern
from pagewalk.formats.fields import SWAP_TYPE, Field
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.rows import Row

__all__ = ["LINUX", "NEWEST", "Linux", "Swap", "SwapTypes", "swap_rows"]

GUARD, POISONED, UFFD_WP = 4, 2, 1
"""``include/linux/leafops.h`` (before 7.0: ``swapops.h``): what a marker's offset holds."""


@dataclass(frozen=True, slots=True)
class SwapTypes:
    """Numbers of the swap types that are no swap device, of Linux 6.15 and newer.

    Attributes:
        hwpoison: A page that is broken.
        migration: A page on its way elsewhere: read, read-exclusive, write.
        device: A page in a device's own memory.
        marker: No page at all: what its offset says.
    """

    hwpoison: int = 24
    migration: tuple[int, int, int] = (25, 26, 27)
    device: tuple[int, ...] = (28, 29, 30)
    marker: int = 31

    @classmethod
    def counted(cls, devices: int) -> SwapTypes:
        """Those of a kernel with so many types for device memory: 0 without CONFIG_DEVICE_PRIVATE; 4 before 6.15."""
        first = 31 - devices
        migration = (first - 3, first - 2, first - 1)
        return cls(first - 4, migration, tuple(range(first, first + devices)))


NEWEST: Final = (7, 3)


@dataclass(frozen=True, slots=True)
class Linux:
    """A kernel: its version, and what of its configuration shows in page tables.

    Attributes:
        version: Major and minor.
        types: Its special swap types.
        name: As ``--os`` spells it.
    """

    version: tuple[int, int] = NEWEST
    types: SwapTypes = SwapTypes()
    name: str = "linux"

    @classmethod
    def running(cls, version: tuple[int, int], *, device_private: bool) -> Linux:
        """A kernel from 6.2 on, by its version and configuration (CONFIG_DEVICE_PRIVATE)."""
        devices = (3 if version >= (6, 15) else 4) if device_private else 0
        return cls(version, SwapTypes.counted(devices))


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


def swap_rows(swap: Swap, types: SwapTypes) -> tuple[Row, ...]:
    """The rows of entries that are stored as swap is: markers, special types, and what is left: swap."""
    marker = types.marker
    moving = tuple(field for field in swap.flags if Flag.EXCLUSIVE not in field.flags)  # the type says that
    kinds = ("read", "read-exclusive", "write")
    return (
        Row(Kind.GUARD, swap.when(marker, GUARD)),
        Row(Kind.HWPOISON, swap.when(marker, POISONED, GUARD), name="poisoned"),
        Row(Kind.UFFD_WP, swap.when(marker, UFFD_WP, GUARD | POISONED)),
        Row(Kind.OTHER, swap.when(marker), name="marker"),
        Row(Kind.HWPOISON, swap.when(types.hwpoison), swap.frame),
        *(
            Row(Kind.MIGRATION, swap.when(number), swap.frame, moving, name=f"migration {kind}")
            for number, kind in zip(types.migration, kinds, strict=True)
        ),
        *(Row(Kind.OTHER, swap.when(number), name="device") for number in types.device),
        Row(Kind.SWAP, (swap.base,), (swap.offset,), (*swap.flags, Field(SWAP_TYPE, swap.type.mask))),
    )
