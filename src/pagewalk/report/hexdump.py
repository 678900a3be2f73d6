"""Bytes as people look at them: sixteen a line, by address, in hexadecimal and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hex_lines"]

_WIDTH: Final = 16
_HALF: Final = 3 * _WIDTH // 2
"""Characters of the first eight bytes, each with a space after it."""
_TEXT: Final = bytes(code if 0x20 <= code < 0x7F else 0x2E for code in range(256))
"""What each byte is as text: a dot, where it would not print."""


def hex_lines(vaddr: int, data: bytes) -> Iterator[str]:
    """A line for each sixteen bytes that begin at a multiple of sixteen, and for what is left at either end."""
    at, end = vaddr, vaddr + len(data)
    while at < end:
        stop = min(end, at // _WIDTH * _WIDTH + _WIDTH)
        some, ahead = data[at - vaddr : stop - vaddr], at % _WIDTH
        digits = f"{'   ' * ahead}{some.hex(' ')}".ljust(3 * _WIDTH - 1)
        text = " " * ahead + some.translate(_TEXT).decode("ascii")
        yield f"{at - ahead:016x}  {digits[:_HALF]} {digits[_HALF:]}  |{text.ljust(_WIDTH)}|\n"
        at = stop
