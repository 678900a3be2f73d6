"""Text that fits: how wide it is on a terminal, names shortened in the middle, lines broken."""

from __future__ import annotations

import re
import textwrap
import unicodedata

__all__ = ["breadth", "pad", "shorten", "wrap"]

_DOTS = "…"
_UNIT = re.compile(r"(?<=\d) ([KMGTPE]iB|bytes|[A-Z4]+\b)")
"""What stays beside its number."""


def breadth(text: str) -> int:
    """The cells of a terminal that a text takes: none for marks that stand over a letter, two for wide letters."""
    if text.isascii():
        return len(text)
    return sum(_cells(letter) for letter in text)


def _cells(letter: str) -> int:
    """The cells of one letter."""
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def pad(text: str, width: int, *, right: bool = False) -> str:
    """A text with spaces behind it, or before it if it is flush right."""
    spaces = " " * (width - breadth(text))
    return spaces + text if right else text + spaces


def shorten(text: str, width: int) -> str:
    """A text of at most ``width`` cells: what is too much is left out of the middle, a little nearer the beginning."""
    if breadth(text) <= width:
        return text
    if width < 1:
        return ""
    head = _taken(text, (width - 1) // 3)
    tail = _taken(text[::-1], width - 1 - breadth(head))[::-1]
    return head + _DOTS + tail


def _taken(text: str, width: int) -> str:
    """As much of the beginning of a text as ``width`` cells hold."""
    used = 0
    for at, letter in enumerate(text):
        used += _cells(letter)
        if used > width:
            return text[:at]
    return text


def wrap(line: str, width: int | None) -> str:
    """A line broken where it is wider than that; None: as it is."""
    if width is None or breadth(line) <= width:
        return line
    kept = _UNIT.sub("\u00a0\\1", line)
    return "\n".join(textwrap.wrap(kept, max(width, 1), break_on_hyphens=False)).replace("\u00a0", " ")
