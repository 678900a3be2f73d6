"""How bytes are unpacked: the algorithms by name, each by the library that has it.

The standard library has zlib; ``cramjam`` has Snappy and Zstandard, ``lzallright`` LZO (the extra ``kdump``).
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["QUICK", "UNPACKERS", "library"]


def library(name: str, what: str, extra: str) -> Any:
    """A library that not everybody has.

    Raises:
        UnsupportedError: It is not here.
    """
    try:
        return import_module(name)
    except ImportError:
        remedy = f"pip install 'pagewalk[{extra}]'"
        raise UnsupportedError(f"{what} needs the library {name}, which is not here: {remedy}") from None


def _zlib() -> Callable[[Any, int], bytes]:
    def unpack(data: Any, size: int) -> bytes:
        return zlib.decompress(data, bufsize=size)

    return unpack


def _lzo() -> Callable[[Any, int], bytes]:
    decompress: Callable[[Any, int], bytes] = library("lzallright", "LZO", "kdump").LZOCompressor.decompress

    def unpack(data: Any, size: int) -> bytes:
        return decompress(data, size)

    return unpack


def _snappy() -> Callable[[Any, int], bytes]:
    decompress = library("cramjam", "Snappy", "kdump").snappy.decompress_raw_into

    def unpack(data: Any, size: int) -> bytes:
        page = bytearray(size)
        return bytes(memoryview(page)[: decompress(data, page)])

    return unpack


def _zstd() -> Callable[[Any, int], bytes]:
    decompress = library("cramjam", "Zstandard", "kdump").zstd.decompress_into

    def unpack(data: Any, size: int) -> bytes:
        page = bytearray(size)
        return bytes(memoryview(page)[: decompress(data, page)])

    return unpack


UNPACKERS: Final = {"zlib": _zlib, "lzo": _lzo, "snappy": _snappy, "zstd": _zstd}
"""The makers of ``unpack(data, size)``: gives ``size`` bytes, or other than so many, or raises any ``Exception``.

zlib and LZO give as many as there are, a thousand times what is packed at most: do not give them much at a time.
"""
QUICK: Final = frozenset({"lzo", "snappy"})
"""Those that are done so soon that two threads would wait for each other, at each page, for longer than they unpack."""
