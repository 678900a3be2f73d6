"""The operating system's layer on a paging format: what it keeps in entries that the MMU does not look at.

The data is Linux's. The numbers of its special swap types depend on the kernel's version and configuration
(``include/linux/swap.h``: they are counted down from the end, so a kernel with CONFIG_DEVICE_PRIVATE has lower ones):
``SwapTypes`` carries them, ``SwapTypes.without_device_private()`` is the other common set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pagewalk.formats.flags import Kind

if TYPE_CHECKING:
    from pagewalk.formats.bits import BitTest, FlagBit, SwapField

__all__ = ["Marker", "SoftwareLayer", "SwapTypes"]


class Marker:
    """``include/linux/leafops.h`` (before 7.0: ``swapops.h``): what a marker's offset holds."""

    UFFD_WP = 1 << 0
    POISONED = 1 << 1
    GUARD = 1 << 2


@dataclass(frozen=True, slots=True)
class SwapTypes:
    """Numbers of the swap types that are no swap device.

    The defaults are those of a kernel with CONFIG_MIGRATION, CONFIG_MEMORY_FAILURE and CONFIG_DEVICE_PRIVATE.
    """

    hwpoison: int = 24
    migration: tuple[int, int] = (25, 27)
    """First and last: read, read-exclusive, write."""
    marker: int = 31

    @classmethod
    def without_device_private(cls) -> SwapTypes:
        """Those of a kernel without CONFIG_DEVICE_PRIVATE (seen on Debian's cloud kernels 6.12)."""
        return cls(hwpoison=27, migration=(28, 30))


@dataclass(frozen=True, slots=True)
class SoftwareLayer:
    """What Linux keeps in the bits that are its own.

    Attributes:
        name: For messages.
        none_ignores: Bits that ``pte_none()`` does not look at.
        prot_none: The test for a page with no rights.
        inverts_frames: The frame number of an entry that is not valid is stored inverted.
        state: Flags in the software bits of a page's entry.
        swap_state: Flags in a swap entry.
        swap_type, swap_offset: The fields of a swap entry.
        frame_bits: Bits of a frame number in a swap entry (SWP_PFN_BITS).
        types: The special types.
    """

    name: str
    none_ignores: int
    prot_none: BitTest
    inverts_frames: bool
    state: tuple[FlagBit, ...]
    swap_state: tuple[FlagBit, ...]
    swap_type: SwapField
    swap_offset: SwapField
    frame_bits: int
    types: SwapTypes = SwapTypes()

    def swap_entry(self, type_: Any, offset: Any) -> Any:
        """The raw swap entry of a type and an offset, without flags."""
        return self.swap_type.put(type_) | self.swap_offset.put(offset)

    def marker_entry(self, marker: int) -> int:
        """The raw entry of a marker, such as ``Marker.GUARD``."""
        return int(self.swap_entry(self.types.marker, marker))

    @property
    def guard_entry(self) -> int:
        """The raw entry of a guard marker (Linux 6.13)."""
        return self.marker_entry(Marker.GUARD)

    def swap_slot(self, entry: Any) -> tuple[Any, Any]:
        """The type and the offset of a swap entry."""
        return self.swap_type.get(entry), self.swap_offset.get(entry)

    def swap_flags(self, entry: Any) -> Any:
        """``Flag`` bits of a swap entry."""
        flags = entry & 0
        for row in self.swap_state:
            flags = flags | (entry >> row.bit & 1) << (row.flag.bit_length() - 1)
        return flags

    def kind_of_absent(self, entry: Any, is_none: Any) -> Any:
        """The ``Kind`` of an entry that is not valid.

        Args:
            entry: A raw value, or a uint64 array of them.
            is_none: Whether it is empty, as the format says.
        """
        type_, offset = self.swap_slot(entry)
        first, last = self.types.migration
        cases = (  # the first that is true decides
            (is_none, Kind.NONE),
            (self.prot_none(entry), Kind.PROT_NONE),
            ((type_ == self.types.marker) & (offset & Marker.GUARD != 0), Kind.GUARD),
            ((type_ == self.types.marker) & (offset & Marker.POISONED != 0), Kind.HWPOISON),
            ((type_ == self.types.marker) & (offset & Marker.UFFD_WP != 0), Kind.UFFD_WP),
            (type_ == self.types.hwpoison, Kind.HWPOISON),
            ((type_ >= first) & (type_ <= last), Kind.MIGRATION),
            (type_ < self.types.hwpoison, Kind.SWAP),
        )
        one = entry & 0 | 1
        kind, open_ = one - 1, one
        for test, value in cases:
            chosen = open_ * test
            kind = kind + chosen * value.value
            open_ = open_ - chosen
        return kind + open_ * Kind.OTHER.value

    def names_frame(self, entry: Any, kind: Any) -> Any:
        """Whether a swap entry holds a frame number: migration and hwpoison, but not the poison marker."""
        poisoned = (kind == Kind.HWPOISON.value) & (self.swap_type.get(entry) == self.types.hwpoison)
        return poisoned | (kind == Kind.MIGRATION.value)

    def swap_frame(self, entry: Any) -> Any:
        """The frame number in a swap entry that holds one (young and dirty bits sit above it)."""
        return self.swap_offset.get(entry) & (1 << self.frame_bits) - 1

    @property
    def swap_step(self) -> int:
        """What takes a swap entry to that of the next frame."""
        step = 1 << self.swap_offset.shift
        return -step if self.swap_offset.inverted else step
