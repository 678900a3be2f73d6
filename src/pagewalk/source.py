"""Where page tables come from: one function that opens whatever ``SOURCE`` names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.doors import integers
from pagewalk.errors import BadRoot, UnsupportedError
from pagewalk.formats import find_format
from pagewalk.memory import RawImage
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from pagewalk.formats import PagingFormat

__all__ = ["open"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*:")
_REMOTE = {
    "qmp:": "a running QEMU cannot be opened yet; the path of a raw memory image can",
    "gdb:": "a gdb stub cannot be opened yet; the path of a raw memory image can",
    "pid:": "a process has no tables that can be opened; pagewalk.capture(pid) makes some",
}
_CONTAINERS = {
    b"\x7fELF": "an ELF core",
    b"KDUMP   ": "a kdump file",
    b"makedumpfile": "a flattened makedumpfile dump",
    b"EMiL": "a LiME image",
}
"""What a file that is no raw image begins with."""
_LONGEST = max(map(len, _CONTAINERS))


def open(  # noqa: A001 - pw.open is the face; this module needs no other
    source: str | os.PathLike[str],
    *,
    format: str | PagingFormat = "x86-64",  # noqa: A002 - the name users know from --format
    root: int,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    writable: bool = False,
) -> PageTables:
    """Open page tables in a raw memory image.

    Args:
        source: The image's path.
        format: A paging format or its name.
        root: Physical address of the top table, in bytes (x86: CR3 without its low 12 bits).
        base: Physical address of the image's first byte.
        segments: Where the image's parts lie, as ``(paddr, offset, size)`` in bytes; None: all of it, from ``base`` on.
        writable: Let what is written to the memory reach the file.

    Raises:
        OSError: The file cannot be opened.
        ImageFormatError: It is empty, or ends before a segment does.
        BadRoot: The root is misaligned, too wide, or outside the memory.
        UnsupportedError: No format of that name, or the source is no raw image.
        ValueError: Both a base and segments.
        TypeError: An address is no integer.
    """
    form = find_format(format)
    root, base = integers(root=root, base=base)
    path = _local(source)
    parts = None if segments is None else tuple(segments)
    if parts is not None and base:
        raise ValueError(f"segments say where the image lies: a base of {base:#x} contradicts them")
    memory = RawImage(path, base=base, segments=parts, writable=writable)
    if parts is None:
        _refuse_containers(path, bytes(memory.segments[0].data[:_LONGEST]))
    tables = PageTables(memory, root, form)
    if memory.view(root, form.levels[0].table_bytes) is None:
        why = f"is outside the memory, which has {memory.extent}: "
        raise BadRoot(root, why + "the image is truncated, or its base (--base) or the root is wrong")
    return tables


def _local(source: str | os.PathLike[str]) -> Path:
    """The path of a source that is a file here."""
    refuse_remote(source)
    return Path(source)


def _refuse_containers(path: Path, head: bytes) -> None:
    """Refuse a file in which physical memory does not lie as it is, by its first bytes."""
    for magic, what in _CONTAINERS.items():
        if head.startswith(magic):
            remedy = "say where its memory lies, as segments (--segment PADDR:OFFSET:SIZE)"
            raise UnsupportedError(f"{path}: {what} is not opened as a raw image: {remedy}")


def refuse_remote(source: str | os.PathLike[str]) -> None:
    """Refuse a source that is no file.

    Raises:
        UnsupportedError: It is something else.
    """
    match = _URL.match(source) if isinstance(source, str) else None
    if match is not None and match.group() in _REMOTE:
        raise UnsupportedError(f"{source}: {_REMOTE[match.group()]}")
