"""A layout as TOML: what is not said says itself, and reading it gives the same layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pagewalk.editing.building.outline import GUARD, Region, Reserve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pagewalk.editing.building.outline import Outline

__all__ = ["text_of"]

_PLAIN: Final = Region("", 0, 0, "")._asdict()
_NUMBERS: Final = (("largest", None), ("set", 0), ("clear", 0))
_HEX: Final = ("vaddr", "paddr", "size", "largest", "page", "set", "clear")


def text_of(layout: Outline, order: Sequence[int]) -> str:
    """A layout as TOML; ``order`` are the numbers of its regions and reservations, as they shall follow each other."""
    return "\n".join([*_head(layout), *_regions(layout, order)]) + "\n"


def _head(layout: Outline) -> Iterator[str]:
    """Format and tables."""
    yield f"format = {_said(layout.format.name)}"
    if layout.format.system != "none":
        yield f"os = {_said(layout.format.system)}"
    yield "\n[tables]"
    yield f"base = {layout.base:#x}"
    if layout.size is not None:
        yield f"size = {layout.size:#x}"
    if layout.bits is not None:
        yield f"bits = {list(layout.bits) if isinstance(layout.bits, tuple) else layout.bits}"
    for name, unasked in (("order", "levels"), ("root", "first"), *_NUMBERS, ("groups", True)):
        if (value := getattr(layout, name)) != unasked:
            yield f"{name} = {value:#x}" if name in _HEX else f"{name} = {_said(value)}"
    if layout.roots != ("",):
        yield f"roots = {_said(list(layout.roots))}"
    if layout.registers:
        yield "\n[registers]"
        yield from (f"{name} = {value:#x}" for name, value in layout.registers.items())


def _regions(layout: Outline, order: Sequence[int]) -> Iterator[str]:
    """Regions and reservations."""
    every = layout.every
    for at in order:
        one = every[at]
        yield f"\n[[{'region' if isinstance(one, Region) else 'reserve'}]]"
        yield from _lines(one)


def _lines(one: Region | Reserve) -> Iterator[str]:
    """What is said of a region."""
    for name, value in one._asdict().items():
        unasked = name != "line" and name in _PLAIN and name not in ("name", "vaddr", "size", "rights")
        if name == "line" or value is None or (unasked and value == _PLAIN[name]):
            continue
        if name == "paddr" and isinstance(one, Region) and one.rights == GUARD:
            continue
        yield f"{name} = {value:#x}" if name in _HEX else f"{name} = {_said(value)}"


def _said(value: Any) -> str:
    """A value as TOML has it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace("\x7f", "\\u007f")
