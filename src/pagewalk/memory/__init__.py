"""Where bytes at physical addresses come from: the only package that opens anything."""

from __future__ import annotations

from pagewalk.memory.cache import CachedMemory
from pagewalk.memory.dumps.vmcoreinfo import split_vmcoreinfo
from pagewalk.memory.exact import BadAnswer, fill_each, read_each, read_exactly
from pagewalk.memory.extents import blocks_of, extents_of, frames_of, lacks_frame
from pagewalk.memory.files.image import RawImage
from pagewalk.memory.files.layered import MappedFiles
from pagewalk.memory.files.pieces import PiecewiseMemory
from pagewalk.memory.flat import FlatMemory, Ram
from pagewalk.memory.protocol import Closable, Fills, Flat, Memory, ReadsMany, Running, Segment, WritableMemory, is_flat
from pagewalk.memory.slots import RemoteSlots
from pagewalk.memory.writes import write_to, writes

__all__ = [
    "BadAnswer",
    "CachedMemory",
    "Closable",
    "Fills",
    "Flat",
    "FlatMemory",
    "MappedFiles",
    "Memory",
    "PiecewiseMemory",
    "Ram",
    "RawImage",
    "ReadsMany",
    "RemoteSlots",
    "Running",
    "Segment",
    "WritableMemory",
    "blocks_of",
    "extents_of",
    "fill_each",
    "frames_of",
    "is_flat",
    "lacks_frame",
    "read_each",
    "read_exactly",
    "split_vmcoreinfo",
    "write_to",
    "writes",
]
