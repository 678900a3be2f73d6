"""The words in which formats are written: fields, tests and flags of an entry, for ints and uint64 arrays alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pagewalk.formats.flags import Flag

__all__ = ["AddressField", "BitTest", "FlagBit", "SwapField"]


class AddressField(NamedTuple):
    """Some bits of a frame's address: ``(entry & mask) << up >> down``."""

    mask: int
    up: int = 0
    down: int = 0


class BitTest(NamedTuple):
    """True for an entry with ``entry & mask == value``."""

    mask: int
    value: int

    def __call__(self, entry: Any) -> Any:
        """A bool, or an array of bool."""
        return (entry & self.mask) == self.value


class FlagBit(NamedTuple):
    """A flag and the bit that holds it; ``clear`` when the bit takes the flag away."""

    flag: Flag
    bit: int
    clear: bool = False


class SwapField(NamedTuple):
    """A field of a not-present entry; stored inverted on x86 (the L1TF mitigation)."""

    shift: int
    bits: int
    inverted: bool = False

    @property
    def mask(self) -> int:
        """The field's largest value."""
        return (1 << self.bits) - 1

    def get(self, entry: Any) -> Any:
        """The field's value: an int, or an array of uint64."""
        stored = entry >> self.shift & self.mask
        return stored ^ self.mask if self.inverted else stored

    def put(self, value: Any) -> Any:
        """An entry with only this field set."""
        return (value ^ self.mask if self.inverted else value) << self.shift
