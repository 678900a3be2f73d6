"""Registers: what they are called, and how windows and their roots lie in them.

A hardware file describes its own as a ``RegisterFile``; here are the shape, and the reading of what users give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from pagewalk.doors import integer, shortened, shown
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from pagewalk.formats.os.layer import Layer
    from pagewalk.formats.os.linux import Linux
    from pagewalk.formats.paging import PagingFormat
    from pagewalk.formats.window import Window

__all__ = ["Chooser", "Paging", "RegisterFile", "parsed"]

_TEXT: Final = re.compile(r"0[xX][0-9a-fA-F]+(_[0-9a-fA-F]+)*|[0-9]", re.ASCII)
"""A value as text. QEMU prints hexadecimal without 0x, so digits alone are never guessed, but where both are one."""


class Paging(NamedTuple):
    """What registers say.

    Attributes:
        format: The format.
        windows: Its windows, with their roots.
        registers: The name of the register that each window's root is in.
    """

    format: PagingFormat
    windows: tuple[Window, ...]
    registers: tuple[str, ...]


class Chooser(Protocol):
    """Given an architecture's layers, that of the operating system that was asked for."""

    def __call__(self, linux: Callable[[Linux], Layer] | None = None, windows: Layer | None = None) -> Layer:
        """That of Linux, given the kernel; that of Windows; each where there is one; or none."""


class RegisterFile(NamedTuple):
    """The registers of an architecture that say where its page tables are.

    Attributes:
        names: What they are called, as QEMU and gdb print them, in lower case.
        needed: Those without which nothing can be said; of a tuple of names, one is enough.
        read: What their values say.
        write: The reverse: what to load for some windows of a format to be translated as it says. What it leaves out
            keeps its value.
    """

    names: tuple[str, ...]
    needed: tuple[tuple[str, ...], ...]
    read: Callable[[Mapping[str, int], Chooser], Paging]
    write: Callable[[PagingFormat, Sequence[Window]], dict[str, int]]

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
        TypeError: Neither a mapping nor text; a name is none, or a value is no integer.
    """
    found: dict[str, int] = {}
    for name, value in _pairs(registers):
        if not isinstance(name, str):
            raise TypeError(f"the name of a register is needed, not {shown(name)}")
        key = name.strip().lower()
        if key in found:
            raise ValueError(f"{shortened(key)} is given twice: give each register once")
        found[key] = number = _number(shortened(key), value)
        if number < 0 or number >> 64:
            raise ValueError(f"{shortened(key)} has 64 bits, which {shortened(hex(number))} does not fit")
    if not found:
        raise ValueError("no register is given: write name=value, with commas between")
    return found


def _pairs(registers: Mapping[str, Any] | str) -> list[tuple[str, Any]]:
    """Names and values."""
    if isinstance(registers, Mapping):
        return list(registers.items())
    if not isinstance(registers, str):
        raise TypeError(f"registers are a mapping of names to values, or text, not {shown(registers)}")
    pairs = []
    for part in registers.split(","):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"{shown(part)} is not name=value: write registers so, with commas between")
        pairs.append((name, value.strip()))
    return pairs


def _number(name: str, value: Any) -> int:
    """A register's value: an integer, or hexadecimal digits after 0x."""
    if not isinstance(value, str):
        return integer(value, name)
    if not _TEXT.fullmatch(value):
        raise ValueError(f"{name} is a number, not {shown(value)}: write hexadecimal digits after 0x")
    return int(value, 16)
