"""Where bytes at physical addresses come from: the only package that opens anything."""

from __future__ import annotations

from pagewalk.memory.cache import CachedMemory
from pagewalk.memory.exact import BadAnswer, read_each, read_exactly
from pagewalk.memory.flat import FlatMemory, Ram
from pagewalk.memory.image import RawImage
from pagewalk.memory.protocol import Closable, Flat, Memory, ReadsMany, Segment, WritableMemory

__all__ = [
    "BadAnswer",
    "CachedMemory",
    "Closable",
    "Flat",
    "FlatMemory",
    "Memory",
    "Ram",
    "RawImage",
    "ReadsMany",
    "Segment",
    "WritableMemory",
    "read_each",
    "read_exactly",
]
