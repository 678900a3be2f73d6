"""What was built, as files: the tables' bytes, source text that has them, or an image of RAM in which they lie.

Source text has the words that are not zero, one a line, and what to load as constants.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.doors import integers, shown
from pagewalk.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pagewalk.editing.building.build import Built

__all__ = ["OUTPUTS", "constants", "output", "ram"]

_SYMBOL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORDS: Final = 1 << 12
"""Words in a block of text."""


def output(built: Built, kind: str, name: str = "page_tables") -> Iterator[bytes]:
    """What was built, as a file.

    Args:
        built: It.
        kind: One of ``OUTPUTS``: ``bin``, ``c``, ``asm`` or ``rust``.
        name: What source text calls it.

    Raises:
        ValueError: No such kind, or the name is none in source text.
    """
    if kind not in OUTPUTS:
        raise ValueError(f"{shown(kind)} is no output: those are {', '.join(OUTPUTS)}")
    if not _SYMBOL.fullmatch(name):
        raise ValueError(f"{shown(name)} is no name in source text: write letters, digits and _")
    return OUTPUTS[kind](built, name)


def ram(built: Built, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The parts of an image of RAM, each with its offset; all else is zero.

    Args:
        built: What lies in it.
        start, size: The RAM's first address, and its bytes.

    Raises:
        LayoutError: The tables are not inside.
    """
    start, size = integers(start=start, size=size)
    if built.base < start or built.base + built.size > start + size:
        raise LayoutError(
            f"{built.layout.title}: the tables, [{built.base:#x}, {built.base + built.size:#x}), are not in the RAM, "
            f"[{start:#x}, {start + size:#x})"
        )
    yield built.base - start, built.data


def constants(built: Built) -> dict[str, int]:
    """What to load, by names in upper case: where the tables are, and each root's registers."""
    found = {"BASE": built.base, "SIZE": built.size}
    for root in built.roots:
        before = f"{re.sub(r'[^A-Za-z0-9_]', '_', root).upper()}_" if root else ""
        found |= {f"{before}{name.upper()}": value for name, value in built.registers(root).items()}
    return found


class _Text(NamedTuple):
    """The words of some tables."""

    size: int
    words: int
    numbers: list[int]
    values: list[int]
    align: int

    def lines(self, form: str) -> Iterator[bytes]:
        """A line for each word that is not zero, in blocks."""
        for at in range(0, len(self.numbers), _WORDS):
            some = zip(self.numbers[at : at + _WORDS], self.values[at : at + _WORDS], strict=True)
            yield "".join(form % pair for pair in some).encode()


def _text(built: Built) -> _Text:
    word = built.layout.format.word
    words = np.frombuffer(built.data, word.dtype)
    places = np.flatnonzero(words)
    align = max(level.table_bytes for level in built.layout.format.levels_of(built.layout.windows[0]))
    return _Text(word.size, len(words), places.tolist(), words[places].tolist(), align)


def _bin(built: Built, name: str) -> Iterator[bytes]:
    del name
    yield built.data


def _c(built: Built, name: str) -> Iterator[bytes]:
    text = _text(built)
    type_ = f"uint{8 * text.size}_t"
    yield f"/* {_about(built)} */\n#include <stdint.h>\n\n".encode()
    yield _defined(constants(built), lambda key, value: f"#define {name.upper()}_{key} {value:#x}ULL\n")
    yield f"\n_Alignas({text.align}) const {type_} {name}[{text.words}] = {{\n".encode()
    yield from text.lines("\t[%d] = %#xU,\n" if text.size == 4 else "\t[%d] = %#xULL,\n")
    yield b"};\n"


def _asm(built: Built, name: str) -> Iterator[bytes]:
    text = _text(built)
    yield f"/* {_about(built)} */\n".encode()
    yield _defined(constants(built), lambda key, value: f"\t.set\t{name.upper()}_{key}, {value:#x}\n")
    yield f'\n\t.section\t.rodata.{name}, "a"\n\t.globl\t{name}\n\t.balign\t{text.align}\n{name}:\n'.encode()
    word = ".long" if text.size == 4 else ".quad"
    at = 0
    for number, value in zip(text.numbers, text.values, strict=True):
        gap = f"\t.zero\t{(number - at) * text.size}\n" if number > at else ""
        yield f"{gap}\t{word}\t{value:#x}\n".encode()
        at = number + 1
    if text.words > at:
        yield f"\t.zero\t{(text.words - at) * text.size}\n".encode()


def _rust(built: Built, name: str) -> Iterator[bytes]:
    text = _text(built)
    type_ = f"u{8 * text.size}"
    yield f"// {_about(built)}\n\n".encode()
    yield _defined(constants(built), lambda key, value: f"pub const {name.upper()}_{key}: u64 = {value:#x};\n")
    yield f"\n#[repr(C, align({text.align}))]\npub struct Aligned(pub [{type_}; {text.words}]);\n\n".encode()
    yield f"pub static {name.upper()}: Aligned = {{\n    let mut words = [0; {text.words}];\n".encode()
    yield from text.lines("    words[%d] = %#x;\n")
    yield b"    Aligned(words)\n};\n"


def _about(built: Built) -> str:
    return f"Page tables, {built.layout.format.name}: {built.size} bytes for {built.base:#x}, where they must lie."


def _defined(values: Mapping[str, int], line: Callable[[str, int], str]) -> bytes:
    return "".join(line(key, value) for key, value in values.items()).encode()


OUTPUTS: Final[dict[str, Callable[[Built, str], Iterator[bytes]]]] = {"bin": _bin, "c": _c, "asm": _asm, "rust": _rust}
"""Kinds of files."""
