"""What a parser's file in ``parsers/`` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.fuzz.mutate import mutated

if TYPE_CHECKING:
    import random
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
        mutate: What makes a seed hostile, given a random generator and the bytes of its header.
        refusal: A pattern of what an error says that refuses a file by its header: an input is past it that is opened,
            or refused for another reason.
    """

    seeds: Callable[[], list[bytes]]
    open: Callable[[Path], Memory]
    header: int | tuple[int, ...]
    modules: tuple[str, ...]
    mutate: Callable[[bytes, random.Random, int], bytes] = mutated
    refusal: str = ""
