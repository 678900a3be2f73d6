"""Numbers as people have them: from kernel logs, debuggers, /proc, and their heads.

``parse`` is the one reader for every number on the command line. Where an address is expected, hexadecimal digits may
stand without 0x, as kernels and debuggers print them; digits that could be either are refused, never guessed.
"""

from __future__ import annotations

import re
from typing import Final

from pagewalk.doors import shown

__all__ = ["MOST", "parse"]

MOST: Final = 1 << 64
"""The largest number: the end of the address space."""

_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_DECIMAL: Final = re.compile(r"([0-9]+)([KMGT]?)", re.ASCII | re.IGNORECASE)
_HEX: Final = re.compile(r"0x([0-9a-f]+(?:_[0-9a-f]+)*)([KMGT]?)", re.ASCII | re.IGNORECASE)
_BARE_HEX: Final = re.compile(r"[0-9a-f]+(?:_[0-9a-f]+)*", re.ASCII | re.IGNORECASE)
_GRAVE: Final = re.compile(r"(?:0x)?([0-9a-f]{1,8})`([0-9a-f]{8})", re.ASCII | re.IGNORECASE)
"""As WinDbg prints addresses: always hexadecimal."""
_LETTERS: Final = re.compile(r"[a-f]", re.IGNORECASE)
_LONG: Final = 9
"""So many digits are more likely an address without its 0x than a number somebody counts in."""
_WIDTH: Final = 32
"""Digits that can still make a number; more are not even converted."""


def parse(text: str, *, address: bool = False) -> int:
    """The number that a text stands for.

    Args:
        text: Decimal, or 0x and hexadecimal with ``_`` between digits, either with K, M, G or T (times 1024 each); or
            in two halves, as in ``fffff800`12345678``.
        address: Hexadecimal may stand without 0x, if it has a letter. Digits only with a leading zero, or nine and more
            of them, are refused: people copy both kinds.

    Raises:
        ValueError: It is no number, could be two, or has more than 64 bits; the message says what to write.
    """
    if match := _GRAVE.fullmatch(text):
        return int(match[1] + match[2], 16)
    if match := _HEX.fullmatch(text):
        return _sized(text, match[1].replace("_", ""), 16, match[2])
    if match := _DECIMAL.fullmatch(text):
        digits, unit = match.groups()
        if address and not unit and len(digits) > 1 and (digits[0] == "0" or len(digits) >= _LONG):
            raise ValueError(_two_readings(digits))
        return _sized(text, digits, 10, unit)
    if address and _BARE_HEX.fullmatch(text) and _LETTERS.search(text):
        return _sized(text, text.replace("_", ""), 16, "")
    raise ValueError(f"{shown(text)} is not a number: write 4096, 0x1000 or 4K")


def _sized(text: str, digits: str, base: int, unit: str) -> int:
    """Digits times a unit, if that is not too much."""
    digits = digits.lstrip("0") or "0"
    number = int(digits, base) << _UNITS[unit.upper()] if len(digits) <= _WIDTH else MOST + 1
    if number > MOST:
        raise ValueError(f"{shown(text)} is too large: no address or size has more than 64 bits")
    return number


def _two_readings(digits: str) -> str:
    """Digits that could be hexadecimal or decimal, each in a form that can be only one."""
    significant = digits.lstrip("0") or "0"
    decimal = _sized(digits, significant, 10, "")
    return f"{shown(digits)} could be hexadecimal or decimal: write 0x{significant} or {decimal:#x}"
