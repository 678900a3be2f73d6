"""Where a scenario happens: the arena, and addresses that mean the same on both sides.

How it works: addresses are pages of an *arena*, a fixed range that is empty at the start on both sides. A mapping whose
place the kernel chooses gets a ``name``; later steps say ``At(page, base=name)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pagewalk.conform.scenarios.names import PAGE

__all__ = ["ARENA", "ARENA_PAGES", "At", "Where", "Who"]

ARENA = 0x10_0000_0000
ARENA_PAGES = (32 << 20) // PAGE


@dataclass(frozen=True, slots=True)
class At:
    """An address: a page of the arena, or of the mapping called ``base``, and a byte in it."""

    page: int
    byte: int = 0
    base: str = ""

    def __repr__(self) -> str:
        byte = f", {self.byte:#x}" if self.byte else ""
        return f"At({self.page}{byte}{f', base={self.base!r}' if self.base else ''})"


@dataclass(frozen=True, slots=True)
class Who:
    """A process, by its number in the scenario."""

    number: int


Where: TypeAlias = At | int
