"""The memory of a machine that QEMU runs, through its machine protocol (QMP).

How it works. Where the machine's RAM is a shared file (``memory-backend-file,share=on``), the file is mapped, with the
holes that the machine's map of memory has: what the guest writes is seen at once, and QEMU is not asked again. Where it
is not, QEMU writes what is wanted (``pmemsave``) into a file that it was handed over the socket and that has no name:
nothing is left behind. A command costs as much as a hundred kilobytes, so what lies between two places is read along.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import integer, plain, refuse_pickling, shortened
from pagewalk.errors import ImageFormatError, MemoryReadError, MemoryWriteError, UnsupportedError
from pagewalk.memory.exact import BadAnswer
from pagewalk.memory.files.image import RawImage
from pagewalk.memory.flat import FlatMemory
from pagewalk.memory.machines.cpus import notes_of_cpus
from pagewalk.memory.machines.forgetting import forget, refuse_kept
from pagewalk.memory.machines.hmp import Section, ram_of
from pagewalk.memory.machines.monitor import Monitor, Refused
from pagewalk.memory.machines.running import registers_of, stub_of
from pagewalk.memory.machines.runs import Extents, gathered
from pagewalk.memory.machines.wire import SECONDS, absolute, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pagewalk.memory.machines.stub import Stub

__all__ = ["SavedRam", "SharedRam", "open_qmp"]

_GAP: Final = 128 << 10
"""Bytes between two places that are read along: as long as another command takes."""
_MOST: Final = 16 << 20
"""Bytes that QEMU is asked to write at once: it does nothing else meanwhile."""
_RUNS_ON: Final = "the machine runs while it is read, so tables may be of different moments: stop=True, --stop holds it"


class Told(NamedTuple):
    """What a machine says of itself.

    Attributes:
        ram: Where it has RAM.
        cpus: The registers of each CPU.
        missing, notes: What it does not have, and what else to know, in a sentence each.
    """

    ram: list[Section]
    cpus: tuple[Mapping[str, int], ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def open_qmp(
    path: str, *, seconds: float = SECONDS, stop: bool = False, writable: bool = False
) -> SharedRam | SavedRam:
    """Open a machine that QEMU runs.

    Args:
        path: The unix socket of its machine protocol.
        seconds: How long each answer may take.
        stop: Hold the machine while it is open; it goes on in the end, if it ran before.
        writable: Let what is written reach the machine: its RAM must be a shared file.

    Raises:
        OSError: Nobody answers there; a file that is the machine's RAM cannot be opened for writing.
        ImageFormatError: What answers speaks another protocol.
        UnsupportedError: QEMU does not do what is needed; or writes are asked for, and its RAM is no shared file.
    """
    monitor = Monitor(path, seconds)
    hold = _Hold(monitor, stop)
    try:
        said = _asked(monitor, hold, seconds)
        files = _files(monitor, {one.region for one in said.ram})
        if files is not None:
            return SharedRam(path, hold, said, files, writable)
        _refuse_to_write(path, writable)
        return SavedRam(monitor, hold, said)
    except BaseException:
        hold.release()
        raise


def _asked(monitor: Monitor, hold: _Hold, seconds: float) -> Told:
    """What a machine says of itself.

    Raises:
        OSError, ImageFormatError, UnsupportedError: It says nothing, or not where its RAM is.
    """
    ram = ram_of(monitor.human("info mtree -f"), monitor.human("info memdev"))
    if not ram:
        raise UnsupportedError(f"{monitor.path}: QEMU shows no RAM of this machine ('info mtree -f')")
    cpus, missing = registers_of(monitor, seconds)
    runs_on = (_RUNS_ON,) if hold.running else ()
    return Told(ram, cpus, missing, (*runs_on, *notes_of_cpus(cpus)))


def _refuse_to_write(path: str, writable: bool) -> None:
    """Refuse writes where RAM is no shared file.

    Raises:
        UnsupportedError: They are asked for.
    """
    if writable:
        why = "this machine's RAM is no shared file, and its machine protocol writes nothing"
        raise UnsupportedError(f"{path}: {why}: open its gdb stub (gdb:...), or start it with memory-backend-file")


class _Hold:
    """A machine that is held, or not, and let go again.

    Attributes:
        monitor: Where it is asked for.
        running: Whether it runs now.
        held: Whether it is held.
    """

    def __init__(self, monitor: Monitor, stop: bool) -> None:
        self.monitor, self._owner, self.held = monitor, os.getpid(), False
        try:
            self.running = bool(monitor.ask("query-status").get("running"))
            if stop and self.running:
                monitor.ask("stop")
                self.running, self.held = False, True
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Hang up, and let the machine go on, if it ran before. Again, it does nothing."""
        if os.getpid() != self._owner:
            return  # a copy of the process: the machine is not its own
        if self.held:
            self.held = False
            with contextlib.suppress(OSError, ImageFormatError, UnsupportedError):  # it has ended
                self.monitor.ask("cont")
        self.monitor.close()


def _files(monitor: Monitor, regions: Iterable[str]) -> dict[str, tuple[Path, int]] | None:
    """The file of each region of memory, and where it begins there; None: one of them is no shared file here."""
    found = {}
    for region in regions:
        said = {}
        for name in ("share", "mem-path", "offset"):
            with contextlib.suppress(Refused):
                said[name] = monitor.ask("qom-get", path=f"/objects/{region}", property=name)
        path, offset = said.get("mem-path"), said.get("offset", 0)
        if said.get("share") is not True or not isinstance(path, str) or not isinstance(offset, int):
            return None
        if not Path(path).is_file() or not os.access(path, os.R_OK):
            return None  # it has been unlinked, is a directory of huge pages, is elsewhere, or may not be read
        found[region] = Path(path), offset
    return found


class SharedRam(FlatMemory):
    """The RAM of a running machine, in the files that it has been made from: flat, and seen as it changes.

    Args:
        path: The machine's socket.
        hold: What lets it go on.
        said: What the machine says of itself.
        files: The file of each region, and where the region begins in it.
        writable: Map them writable.

    Raises:
        OSError: A file cannot be opened.
        ImageFormatError: It is shorter than the region.

    Attributes:
        cpus, missing, notes: As ``GdbStub``.
    """

    holds_frames = True
    _stub: Stub | None

    def __init__(
        self, path: str, hold: _Hold, said: Told, files: Mapping[str, tuple[Path, int]], writable: bool
    ) -> None:
        self._path, self._hold, self._stub = path, hold, None
        self._images = [
            RawImage(file, segments=_parts(said.ram, region, offset), writable=writable)
            for region, (file, offset) in files.items()
        ]
        self.cpus, self.missing, self.notes = said.cpus, said.missing, said.notes
        super().__init__(segment for image in self._images for segment in image.segments)
        self._finish = weakref.finalize(self, hold.release)
        if not hold.held:  # nothing more is to be asked
            self._finish()

    def __repr__(self) -> str:
        return f"<SharedRam {shortened(self._path, 32)} {shortened(self.extent, 64)}>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "open it there by its address")

    def check_extent(self) -> None:
        """Check that the files are open and still have all their bytes.

        Raises:
            MemoryReadError: They were closed, or cut off.
        """
        for image in self._images:
            image.check_extent()

    def read(self, paddr: int, size: int) -> bytes:
        """See ``FlatMemory``; refused too where it was closed or cut off."""
        self.check_extent()
        return super().read(paddr, size)

    def write(self, paddr: int, data: bytes) -> None:
        """See ``FlatMemory``; refused too where it was closed or cut off."""
        if any(image.closed for image in self._images):
            raise MemoryWriteError(integer(paddr, "paddr"), len(plain(data)), f"{self._path} was closed: open it again")
        self.check_extent()
        super().write(paddr, data)

    @property
    def address(self) -> dict[str, str]:
        """Where it is: see ``Running``."""
        return {"qmp": absolute(self._path)}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """See ``Running``; its gdb stub is needed for it, the machine's own or one that is started."""
        own = self._hold if self._hold.held else None
        hold = own or _Hold(Monitor(self._path, self._hold.monitor.seconds), stop=True)
        try:
            refuse_kept(hold.monitor.human("info kvm"), self._path)
            with stub_of(hold.monitor, hold.monitor.seconds) as self._stub:
                yield
        finally:
            self._stub = None
            if own is None:
                hold.release()

    def forget(self, ranges: Sequence[tuple[int, int]]) -> int:
        """See ``Running``."""
        if self._stub is None:
            raise UnsupportedError(f"{self._path}: only a machine that is paused is told to forget")
        return forget(self._stub, ranges)

    def close(self) -> None:
        """Let go of the files, and let the machine go on if it was held. Closing again does nothing."""
        self._finish()
        self.segments = ()
        self._starts = []
        for image in self._images:
            image.close()


def _parts(ram: Sequence[Section], region: str, offset: int) -> list[tuple[int, int, int]]:
    """Where the parts of a region lie in its file, as ``RawImage`` takes them; neighbours are one."""
    parts: list[tuple[int, int, int]] = []
    for one in ram:
        if one.region != region:
            continue
        at = offset + one.offset
        if parts and sum(parts[-1][::2]) == one.start and sum(parts[-1][1:]) == at:
            start, first, size = parts[-1]
            parts[-1] = start, first, size + one.end - one.start
        else:
            parts.append((one.start, at, one.end - one.start))
    return parts


class SavedRam:
    """The RAM of a running machine, written by QEMU into a file without a name, piece by piece, as it is asked for.

    Args:
        monitor: Where to ask.
        hold: What lets the machine go on.
        said: What it says of itself.

    Raises:
        OSError, ImageFormatError, UnsupportedError: QEMU does not take the file.

    Attributes:
        extents, extent: Where there is RAM.
        journeys: How often QEMU was asked for memory: once for any number of places.
        cpus, missing, notes: As ``GdbStub``.
    """

    holds_frames = True

    def __init__(self, monitor: Monitor, hold: _Hold, said: Told) -> None:
        self.cpus, self.missing, self.notes = said.cpus, said.missing, said.notes
        self.journeys = 0
        self._monitor = monitor
        self._ram = Extents((one.start, one.end) for one in said.ram)
        self.extents = self._ram.runs
        self._file = os.memfd_create("pagewalk")
        self._finish = weakref.finalize(self, _end, self._file, hold)
        theirs = monitor.ask("add-fd", files=[self._file])["fd"]
        self._name = f"/proc/self/fd/{integer(theirs, 'the number of a file')}"

    def __repr__(self) -> str:
        return f"<SavedRam {shortened(self._monitor.path, 32)} {shortened(self.extent, 64)}>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "open it there by its address")

    @property
    def extent(self) -> str:
        """Where there is memory, for messages."""
        return str(self._ram)

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            MemoryReadError: Not all of them are there, or QEMU does not answer.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        if self._ram.find(paddr, size) is None:
            raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")
        (data,) = self._fetched([(paddr, paddr + size)])
        return data or b""

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Read ``size`` bytes at each address: few commands, all under way together. None: not all there."""
        paddrs, size = [integer(paddr, "paddr") for paddr in paddrs], integer(size, "size")
        return gathered(self._ram, paddrs, size, self._fetched, gap=_GAP, most=_MOST)

    def _fetched(self, runs: list[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of runs.

        Raises:
            BadAnswer: QEMU does not answer, or writes less than it was asked for.
        """
        self.journeys += 1
        try:
            return [self._saved(start, end - start) for start, end in runs]
        except (OSError, ImageFormatError, UnsupportedError) as error:
            start, end = runs[0]
            raise BadAnswer(start, end - start, told(error)) from error

    def _saved(self, paddr: int, size: int) -> bytes:
        """Bytes, out of the file that QEMU writes them to.

        Raises:
            OSError, ImageFormatError, UnsupportedError: It does not.
        """
        parts = []
        for at in range(paddr, paddr + size, _MOST):
            length = min(_MOST, paddr + size - at)
            self._monitor.ask("pmemsave", val=at, size=length, filename=self._name)
            parts.append(os.pread(self._file, length, 0))
            if len(parts[-1]) != length:
                raise ImageFormatError(f"QEMU wrote {len(parts[-1])} bytes where {length} were asked for at {at:#x}")
        return b"".join(parts)

    def close(self) -> None:
        """Hang up, and let the machine go on if it was held. Closing again does nothing."""
        self._finish()


def _end(file: int, hold: _Hold) -> None:
    """Let go of a file and of the machine."""
    os.close(file)
    hold.release()
