"""What a file is, by its content: a table of the types that pagewalk knows, and of those that it knows by name only."""

from __future__ import annotations

import importlib
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from pagewalk.memory import Memory

__all__ = ["MACHINES", "RAW", "TYPES", "SourceType", "detect", "source_type"]


class SourceType(NamedTuple):
    """A type of source.

    Attributes:
        name: What ``--source-type`` calls it.
        what: What a message calls it: "an ELF core".
        magic, offset: What a file of it has where.
        load: The memory that opens it, ``module:class``; it takes the path. Empty: it is known by name only.
        remedy: What to do with one that is not opened.
    """

    name: str
    what: str
    magic: bytes = b""
    offset: int = 0
    load: str = ""
    remedy: str = ""

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins like this is of this type."""
        return bool(self.magic) and head[self.offset : self.offset + len(self.magic)] == self.magic

    def open(self, path: Path | str, **options: Any) -> Memory:
        """The memory in a file of this type, or at an address.

        Raises:
            OSError: It cannot be opened.
            ImageFormatError: It is not what it claims to be.
            UnsupportedError: pagewalk knows this type by its name only.
        """
        if not self.load:
            raise UnsupportedError(f"{path}: {self.what} is not opened as a raw image: {self.remedy}")
        module, _, name = self.load.partition(":")
        memory: Memory = getattr(importlib.import_module(module), name)(path, **options)
        return memory


_SEGMENTS: Final = "say where its memory lies, as segments (--segment PADDR:OFFSET:SIZE)"
RAW: Final = SourceType("raw", "a raw memory image", load="pagewalk.memory.image:RawImage")
TYPES: Final = (
    SourceType("elf", "an ELF core", b"\x7fELF", remedy=_SEGMENTS),
    SourceType("kdump", "a kdump file", b"KDUMP   ", remedy=_SEGMENTS),
    SourceType("flattened", "a flattened makedumpfile dump", b"makedumpfile", remedy=_SEGMENTS),
    SourceType("lime", "a LiME image", b"EMiL", remedy=_SEGMENTS),
    RAW,
)
"""The types. A file is the first whose magic it has, and raw if it has none."""
MACHINES: Final = (
    SourceType("qmp", "a running machine", load="pagewalk.memory.qmp:open_qmp"),
    SourceType("gdb", "a running machine", load="pagewalk.memory.gdb:open_gdb"),
)
"""What is opened by an address: the name, a colon, and where it is."""
_HEAD: Final = max(type_.offset + len(type_.magic) for type_ in TYPES)


def source_type(name: str) -> SourceType:
    """The type of a name.

    Raises:
        UnsupportedError: There is none.
    """
    for type_ in TYPES:
        if type_.name == name:
            return type_
    raise UnsupportedError(f"no source type is called {shown(name)}: there are {', '.join(t.name for t in TYPES)}")


def detect(path: Path) -> SourceType:
    """What a file is.

    Raises:
        OSError: It cannot be opened.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        return RAW  # it has no bytes: whoever opens it says so
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD)
    return next((type_ for type_ in TYPES if type_.matches(head)), RAW)
