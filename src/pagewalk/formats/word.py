"""How wide an entry is, and in which order its bytes lie in memory."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Word"]

_CODES: dict[int, Literal["I", "Q"]] = {4: "I", 8: "Q"}


@dataclass(frozen=True)
class Word:
    """One entry as it lies in memory.

    Attributes:
        size: Bytes: 8, or 4.
        order: The order of its bytes.

    Raises:
        ValueError: Another width.
    """

    size: int = 8
    order: Literal["little", "big"] = "little"

    def __post_init__(self) -> None:
        """Refuse a width that nobody has."""
        if self.size not in _CODES or self.order not in ("little", "big"):
            raise ValueError(f"an entry has 4 or 8 bytes, little or big end first, not {self.size} {self.order}")

    @cached_property
    def mask(self) -> int:
        """All bits of an entry."""
        return (1 << 8 * self.size) - 1

    @cached_property
    def code(self) -> Literal["I", "Q"]:
        """Its letter, for ``memoryview.cast``."""
        return _CODES[self.size]

    @cached_property
    def is_native(self) -> bool:
        """Whether this machine reads it as it lies."""
        return self.order == sys.byteorder

    @cached_property
    def dtype(self) -> str:
        """Its NumPy type."""
        return f"{'<' if self.order == 'little' else '>'}u{self.size}"

    def pack(self, values: Sequence[int]) -> bytes:
        """Entries as bytes."""
        return struct.pack(f"{self._sign}{len(values)}{self.code}", *values)

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """Bytes as entries."""
        return struct.unpack(f"{self._sign}{len(data) // self.size}{self.code}", data)

    @property
    def _sign(self) -> str:
        return "<" if self.order == "little" else ">"
