"""AVML images, version 2: their numbers.

Source: AVML 0.14, ``src/image.rs`` (``Header``, ``MAX_BLOCK_SIZE``, ``copy_if_nonzero``), ``src/io/snappy.rs``;
Snappy, ``framing_format.txt``.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BLOCK", "CHUNK", "CHUNK_COPIED", "CHUNK_PACKED", "CHUNK_SKIPPED", "COUNT", "HEADER", "MAGIC", "STREAM", "VERSION",
]  # fmt: skip

MAGIC: Final = b"AVML"
VERSION: Final = 2
HEADER: Final = "<4sIQQQ"
"""Magic, version, the first byte's address, the last one's, zero."""
COUNT: Final = 8
"""Bytes of the number that ends a block: of how many bytes its stream is, little-endian."""
BLOCK: Final = 16 << 20
"""The longest block: a range of RAM is cut into such from its start on, and one of zeros is not written."""

CHUNK: Final = 1 << 16
"""The longest chunk of a stream, unpacked."""
STREAM: Final = b"\xff\x06\x00\x00sNaPpY"
"""What begins a stream; a chunk that may come again."""
CHUNK_PACKED: Final = 0
CHUNK_COPIED: Final = 1
CHUNK_SKIPPED: Final = 0x80
"""A chunk's type, its first byte; from here on those that a reader passes over, and up to here others are not known."""
