"""VMCOREINFO: what a Linux kernel says of itself for whoever reads its dump, as text.

Source: ``kernel/crash_core.c`` (from 6.9 on ``vmcore_info.c``), ``Documentation/admin-guide/kdump/vmcoreinfo.rst``.
"""

from __future__ import annotations

from typing import Final

__all__ = ["split_vmcoreinfo"]

_MOST: Final = 4096
"""Lines that are read; a kernel writes less than 200."""


def split_vmcoreinfo(text: bytes | bytearray | memoryview) -> dict[str, str]:
    """The lines ``KEY=VALUE`` of a text that may end before its bytes do: by key, as they stand there.

    Of a key that is there twice, the last line counts. What is no such line is passed over.
    """
    lines = bytes(text).partition(b"\0")[0].split(b"\n", _MOST)[:_MOST]
    pairs = (line.decode("latin-1").partition("=") for line in lines)
    return {key: value for key, sign, value in pairs if sign and key}
