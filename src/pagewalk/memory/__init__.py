"""Where bytes at physical addresses come from: the only package that opens anything."""

from __future__ import annotations

from pagewalk.memory.cache import CachedMemory
from pagewalk.memory.exact import BadAnswer, read_exactly
from pagewalk.memory.flat import FlatMemory, Ram
from pagewalk.memory.image import RawImage
from pagewalk.memory.protocol import Flat, Memory, Segment, WritableMemory

__all__ = [
    "BadAnswer",
    "CachedMemory",
    "Flat",
    "FlatMemory",
    "Memory",
    "Ram",
    "RawImage",
    "Segment",
    "WritableMemory",
    "read_exactly",
]
