"""Where a memory is, as plain data: for whoever has to open it again later, in another process, to write to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagewalk.errors import ImageFormatError
from pagewalk.memory.files.image import RawImage

if TYPE_CHECKING:
    from pagewalk.memory.protocol import Memory

__all__ = ["address_of", "reopened"]


def address_of(memory: Memory) -> dict[str, Any] | None:
    """Where a memory is; None: nowhere that another process could find."""
    if isinstance(memory, RawImage):
        return {"file": str(memory.path.absolute()), "segments": memory.parts}
    said: dict[str, Any] | None = getattr(memory, "address", None)
    return said


def reopened(address: dict[str, Any]) -> Any:
    """Open a memory again, to be written.

    Args:
        address: What ``address_of`` said.

    Raises:
        ImageFormatError: That is none; a file has not all of its parts any more.
        OSError: It is gone, or cannot be written.
        UnsupportedError: It cannot be written any more.
    """
    from pagewalk.memory.machines.gdb import GdbStub  # they are for machines alone
    from pagewalk.memory.machines.qmp import open_qmp

    match address:
        case {"file": str(path), "segments": list(parts)}:
            return RawImage(Path(path), segments=[tuple(part) for part in parts], writable=True)
        case {"gdb": str(place)}:
            return GdbStub(place, writable=True)
        case {"qmp": str(place)}:
            return open_qmp(place, writable=True)
    raise ImageFormatError(f"{address!r:.80} says of no memory where it is")
