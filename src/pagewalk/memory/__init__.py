"""Where bytes at physical addresses come from: the only package that opens anything."""

from __future__ import annotations

from pagewalk.memory.cache import CachedMemory
from pagewalk.memory.flat import FlatMemory, Ram, RawImage
from pagewalk.memory.protocol import Flat, Memory, Segment, WritableMemory

__all__ = ["CachedMemory", "Flat", "FlatMemory", "Memory", "Ram", "RawImage", "Segment", "WritableMemory"]
