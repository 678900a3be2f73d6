"""What a parser's file in ``parsers/`` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pagewalk.memory import Memory

__all__ = ["Target"]


class Target(NamedTuple):
    """A parser.

    Attributes:
        seeds: Valid files, small ones: what is mutated.
        open: What opens a file.
        header: Bytes at the front that half of the inputs keep, so that they get past the first check; of several
            numbers each input has one.
        modules: The parser's own modules, whose lines are counted.
    """

    seeds: Callable[[], list[bytes]]
    open: Callable[[Path], Memory]
    header: int | tuple[int, ...]
    modules: tuple[str, ...]
