"""Registers: what they are called, and how windows and their roots lie in them.

A hardware file describes its own as a ``RegisterFile``; here are the shape, and the reading of what users give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pagewalk.doors import integer, shown
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from pagewalk.formats.level import Window
    from pagewalk.formats.os.layer import Layer
    from pagewalk.formats.os.linux import Linux
    from pagewalk.formats.paging import PagingFormat

__all__ = ["Chooser", "Paging", "RegisterFile", "parsed"]


class Paging(NamedTuple):
    """What registers say: a format, and windows with their roots."""

    format: PagingFormat
    windows: tuple[Window, ...]


if TYPE_CHECKING:
    Chooser: TypeAlias = Callable[[Callable[[Linux], Layer]], Layer]
    """Given an architecture's layer of Linux, the layer of the operating system that was asked for."""
else:
    Chooser = Callable


class RegisterFile(NamedTuple):
    """The registers of an architecture that say where its page tables are.

    Attributes:
        names: What they are called, as QEMU and gdb print them, in lower case.
        needed: Those without which nothing can be said; of a tuple of names, one is enough.
        read: What their values say.
    """

    names: tuple[str, ...]
    needed: tuple[tuple[str, ...], ...]
    read: Callable[[Mapping[str, int], Chooser], Paging]

    def check(self, values: Mapping[str, int]) -> None:
        """Refuse registers of which one is missing.

        Raises:
            UnsupportedError: One is.
        """
        for names in self.needed:
            if not any(name in values for name in names):
                raise UnsupportedError(f"{' or '.join(names)} is missing beside {', '.join(values)}: give it as well")


def parsed(registers: Mapping[str, Any] | str) -> dict[str, int]:
    """Registers by their names in lower case.

    Args:
        registers: A mapping, or text: ``name=value,...``.

    Raises:
        ValueError: The text is none, a value is negative or wider than 64 bits, or a register is given twice.
        TypeError: A value is no integer.
    """
    found: dict[str, int] = {}
    for name, value in _pairs(registers):
        key = name.strip().lower()
        if key in found:
            raise ValueError(f"{key} is given twice")
        found[key] = number = _number(key, value)
        if number < 0 or number >> 64:
            raise ValueError(f"{key} has 64 bits at most, not {number:#x}")
    if not found:
        raise ValueError("no register is given: write name=value, with commas between")
    return found


def _pairs(registers: Mapping[str, Any] | str) -> list[tuple[str, Any]]:
    """Names and values."""
    if not isinstance(registers, str):
        return list(registers.items())
    pairs = []
    for part in registers.split(","):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"{shown(part)} is not name=value")
        pairs.append((name, value.strip()))
    return pairs


def _number(name: str, value: Any) -> int:
    """A register's value: an integer, or digits, hexadecimal after 0x."""
    if not isinstance(value, str):
        return integer(value, name)
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError(f"{name} is a number, not {shown(value)}: write hexadecimal digits after 0x") from None
