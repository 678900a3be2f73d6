"""The memory of a machine that QEMU runs, through its gdb stub."""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, plain, refuse_pickling, shortened
from pagewalk.errors import ImageFormatError, MemoryReadError, MemoryWriteError
from pagewalk.memory.exact import BadAnswer
from pagewalk.memory.machines.cpus import NAMES, notes_of_cpus
from pagewalk.memory.machines.forgetting import forget, refuse_kept
from pagewalk.memory.machines.hmp import ram_of
from pagewalk.memory.machines.runs import Extents, gathered
from pagewalk.memory.machines.stub import Stub
from pagewalk.memory.machines.wire import SECONDS, absolute, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["GdbStub", "open_gdb"]

_EVERYWHERE: Final = 1 << 64
_HEAD: Final = 20
"""Bytes less than can be read, in a packet that also says where they go."""


def open_gdb(address: str, *, stop: bool = False, writable: bool = False) -> GdbStub:
    """Open a machine by its gdb stub, which holds it, asked for or not: ``GdbStub`` has the errors."""
    del stop
    return GdbStub(address, writable=writable)


class GdbStub:
    """Physical memory by QEMU's gdb stub, with the registers of each CPU.

    Connecting stops the machine, and closing lets it go on, as with gdb; also one that stood still before, of which the
    stub tells nothing. A forgotten one is closed when it is dropped, or Python ends.

    Args:
        address: The stub's socket: a path, or ``HOST:PORT``.
        seconds: How long each answer may take.
        resume: Let the machine go on in the end; False: it stands still until somebody lets it.
        writable: Take writes.

    Raises:
        OSError: Nobody answers there.
        ImageFormatError: What answers speaks another protocol.
        UnsupportedError: The stub shows no physical memory: it is not QEMU's.

    Attributes:
        cpus: The registers of each CPU that say where tables are, by name.
        extents: Where there is RAM, shape (runs, 2); only where the stub passes on what QEMU's monitor says.
        extent: The same for messages.
        missing, notes: What it does not have, and what else to know, in a sentence each.
        holds_frames: Whether a frame that is not in it is odd.
        journeys: How often the stub was asked for memory: once for any number of places.

    A stub that does not answer in time, hangs up or says what is none of the protocol raises ``BadAnswer``, a
    MemoryReadError; so does everything that is asked afterwards.
    """

    def __init__(self, address: str, *, seconds: float = SECONDS, resume: bool = True, writable: bool = False) -> None:
        self._stub = Stub(address, seconds)
        self._finish = weakref.finalize(self, self._stub.leave, resume=resume)
        self._writable = writable
        self.journeys = 0
        try:
            self._stub.be_physical()
            self._ram = self._extents()
            self.cpus = self._stub.cpus(NAMES)
        except BaseException:
            self._finish()
            raise
        self.missing = (
            () if self.holds_frames else ("it does not say where there is memory: this stub passes nothing on to QEMU",)
        )
        self.notes = notes_of_cpus(self.cpus)

    def _extents(self) -> Extents:
        """Where there is RAM, as the monitor says."""
        layout = self._stub.monitor("info mtree -f")
        found = ram_of(layout, self._stub.monitor("info memdev") or "") if layout else []
        self.holds_frames = bool(found)
        ram = Extents((one.start, one.end) for one in found) if found else Extents([(0, _EVERYWHERE)])
        if found:
            self.extents = ram.runs
        return ram

    @property
    def extent(self) -> str:
        """Where there is memory, for messages."""
        return str(self._ram) if self.holds_frames else "it does not say what"

    def __repr__(self) -> str:
        return f"<GdbStub {shortened(self._stub.address, 32)} {shortened(self.extent, 64)}>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "two would talk at once: open it there by its address")

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            MemoryReadError: Not all of them are there, or the stub does not answer.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        if self._ram.find(paddr, size) is None:
            raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")
        (data,) = self._fetched([(paddr, paddr + size)])
        if data is None:
            raise MemoryReadError(paddr, size, "the gdb stub refuses it")
        return data

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Read ``size`` bytes at each address, all questions in flight together. None: not all there."""
        paddrs, size = [integer(paddr, "paddr") for paddr in paddrs], integer(size, "size")
        return gathered(self._ram, paddrs, size, self._fetched, most=self._stub.most)

    def _fetched(self, runs: list[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of runs; None for one that the stub refuses.

        Raises:
            BadAnswer: It does not answer, or says what is none of the protocol.
        """
        most = self._stub.most
        parts = [[(at, min(most, end - at)) for at in range(start, end, most)] for start, end in runs]
        flat = [part for some in parts for part in some]
        self.journeys += bool(flat)
        try:
            data = self._stub.read_each(flat)
        except (OSError, ImageFormatError) as error:
            start, end = runs[0]
            raise BadAnswer(start, end - start, told(error)) from error
        left = iter(data)
        return [_joined([next(left) for _ in some]) for some in parts]

    def write(self, paddr: int, data: bytes) -> None:
        """Write ``data`` at ``paddr``. What is longer than a packet is written in parts.

        Raises:
            MemoryWriteError: Not all of it has a place, it was opened read-only, or the stub does not answer.
        """
        paddr, data = integer(paddr, "paddr"), bytes(plain(data))
        if self._ram.find(paddr, len(data)) is None:
            raise MemoryWriteError(paddr, len(data), f"outside the memory, which has {self.extent}")
        if not self._writable:
            raise MemoryWriteError(paddr, len(data), "opened read-only: open it with writable=True")
        most = self._stub.most - _HEAD
        parts = [(paddr + at, data[at : at + most]) for at in range(0, len(data), most)]
        questions = [b"M%x,%x:%b" % (at, len(part), part.hex().encode()) for at, part in parts]
        try:
            refused = [answer for answer in self._stub.ask_each(questions) if answer != b"OK"]
        except (OSError, ImageFormatError) as error:
            raise MemoryWriteError(paddr, len(data), told(error)) from error
        if refused:
            raise MemoryWriteError(paddr, len(data), "the gdb stub refuses it")

    @property
    def address(self) -> dict[str, str]:
        """Where it is: see ``Running``."""
        return {"gdb": absolute(self._stub.address)}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See ``Running``: it stands still anyway, unless somebody else let it go on."""
        refuse_kept(self._stub.monitor("info kvm") or "", self._stub.address)
        runs = "running" in (self._stub.monitor("info status") or "")
        if runs:
            self._stub.monitor("stop")
        try:
            yield
        finally:
            if runs:
                with suppress(OSError, ImageFormatError):  # it has ended
                    self._stub.monitor("cont")

    def forget(self, ranges: Sequence[tuple[int, int]]) -> int:
        """See ``Running``."""
        return forget(self._stub, ranges)

    def close(self) -> None:
        """Leave the stub, and let the machine go on. Closing again does nothing."""
        self._finish()


def _joined(parts: list[bytes | None]) -> bytes | None:
    """A run, out of what packets hold; None if one is missing."""
    some = [part for part in parts if part is not None]
    return b"".join(some) if len(some) == len(parts) else None
