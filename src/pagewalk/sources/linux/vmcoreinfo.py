"""What VMCOREINFO says: its symbols and numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pagewalk.errors import MemoryReadError
from pagewalk.memory import BadAnswer, read_exactly, split_vmcoreinfo
from pagewalk.sources.whose import RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.memory import Memory

__all__ = ["Vmcoreinfo", "read_vmcoreinfo"]

_PAGE: Final = 4096
_PAGES: Final = 4
"""The text takes one page, of whatever size; its copies may take as much."""
_BITS: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Vmcoreinfo:
    """What a kernel says of itself.

    Attributes:
        said: Its lines, by key.
    """

    said: Mapping[str, str]

    @property
    def release(self) -> str:
        """The kernel's release, as ``uname -r`` has it; empty if it is not said."""
        return self.said.get(RELEASE, "")

    def symbol(self, name: str) -> int | None:
        """The virtual address of a symbol; None: it is not said."""
        return _number(self.said.get(f"SYMBOL({name})"), 16)

    def number(self, name: str) -> int | None:
        """A number, as 64 bits; None: it is not said."""
        return _number(self.said.get(f"NUMBER({name})") or self.said.get(name), 10)


def _number(text: str | None, base: int) -> int | None:
    """A number in the kernel's spelling: decimal, or hexadecimal after 0x or where that is usual."""
    if text is None or not re.fullmatch(r"-?(0[xX])?[0-9a-fA-F]{1,20}", text, re.ASCII):
        return None
    prefixed = text.lower().lstrip("-").startswith("0x")
    try:
        return int(text, 16 if prefixed else base) & _BITS
    except ValueError:  # letters in what should be decimal
        return int(text, 16) & _BITS


def read_vmcoreinfo(memory: Memory, paddr: int) -> Vmcoreinfo | None:
    """The text at an address; None if there is none.

    Raises:
        BadAnswer: The memory breaks its promise.
    """
    parts: list[bytes] = []
    for at in range(paddr, paddr + _PAGES * _PAGE, _PAGE):
        try:
            parts.append(read_exactly(memory, at, _PAGE))
        except BadAnswer:
            raise
        except MemoryReadError:
            break
        if b"\0" in parts[-1]:
            break
    found = Vmcoreinfo(split_vmcoreinfo(b"".join(parts)))
    return found if found.release else None
