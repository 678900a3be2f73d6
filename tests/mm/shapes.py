"""Formats whose tables have other shapes than the first one's: the model has to run on them as it does there."""

from typing import Final

from pagewalk.formats import PagingFormat, find_format

__all__ = ["SHAPES"]

NAMES: Final = ("x86-64", "x86-64-la57", "arm64-4k", "arm64-16k", "riscv-sv39", "riscv-sv57")
SHAPES: Final[dict[str, PagingFormat]] = {name: find_format(name) for name in NAMES}
