"""``/proc/PID/smaps`` as lines that two sides can be compared by: one a VMA, in KiB, zeros left out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pagewalk.conform.sides.actor import Window

__all__ = ["smaps_lines", "starts_above"]

_HEAD: Final = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ", re.MULTILINE)
_LINE: Final = re.compile(r"^(\w+): +(\d+)", re.MULTILINE)
_NUMBERS: Final = ("THPeligible", "ProtectionKey")
_FLAGS_LEFT_OUT: Final = frozenset({"gu"})
"""See ``FREEDOMS``."""


def starts_above(text: bytes, end: int) -> bool:
    """Whether the text of smaps has come to a VMA that begins at ``end`` or above."""
    heads = _HEAD.findall(text)
    return bool(heads) and int(heads[-1][0], 16) >= end


def smaps_lines(smaps: Any, window: Window) -> tuple[str, ...]:
    """A line for each VMA that lies in a window. Argument: the kernel's text, or the model's rows."""
    return _of_text(smaps, window) if isinstance(smaps, bytes) else _of_rows(smaps, window)


def _of_rows(rows: Iterable[Any], window: Window) -> tuple[str, ...]:
    lines = []
    for row in rows:
        if window.start <= row.start and row.end <= window.end:
            values = {name: _shown(name, value) for name, value in row.values.items()}
            lines.append(_line(window, row.start, row.end, values, row.flags))
    return tuple(lines)


def _shown(name: str, value: int) -> int:
    return value if name in _NUMBERS else value // 1024


@lru_cache(maxsize=256)
def _of_text(text: bytes, window: Window) -> tuple[str, ...]:
    return tuple(_parsed(text, window))


def _parsed(text: bytes, window: Window) -> Iterator[str]:
    """The VMAs of a text; the last one may be cut off."""
    heads = [*_HEAD.finditer(text)]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, stop in zip(heads, ends, strict=True):
        start, end = (int(part, 16) for part in head.groups())
        if window.start <= start and end <= window.end:
            body = text[head.end() : stop].decode()
            values = {name: int(value) for name, value in _LINE.findall(body)}
            flags = body.partition("VmFlags: ")[2].split()
            yield _line(window, start, end, values, flags)


def _line(window: Window, start: int, end: int, values: Mapping[str, int], flags: Iterable[str]) -> str:
    """One VMA, in pages of the window."""
    shown = [f"{name} {value}" for name, value in values.items() if value]
    flags = [word for word in flags if word not in _FLAGS_LEFT_OUT]
    place = f"{(start - window.start) // PAGE}-{(end - window.start) // PAGE}"
    return f"{place}: {', '.join(shown)}; {' '.join(flags)}"
