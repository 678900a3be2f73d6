"""From the SOURCE argument to page tables: a memory image, or a process that is captured."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from pagewalk.cli.cutoff import tell_of_cut_off_files
from pagewalk.cli.status import complain
from pagewalk.doors import shown
from pagewalk.errors import ImageFormatError, PagewalkError, ProcessError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.live import Capture
    from pagewalk.sources import Source
    from pagewalk.tables import PageTables

__all__ = ["Opened", "open_memory", "open_source", "open_told", "process_of"]

_PREFIX: Final = "pid:"
_PID: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class Opened(NamedTuple):
    """What a SOURCE turned out to be.

    Attributes:
        name: The source: a path, or ``pid:N``.
        tables: Its page tables.
        space: The process that they were made from; None: they are those of an image.
        notes: What else to know of it.
        pid: The process of an image whose tables they are; None: it is not said.
    """

    name: str
    tables: PageTables
    space: Capture | None = None
    notes: tuple[str, ...] = ()
    pid: int | None = None

    @property
    def hidden(self) -> int:
        """From which address on nothing is known: the kernel's half, of a process. 2**64: all is known."""
        return 1 << 64 if self.space is None else self.tables.windows[0].end

    def json(self) -> dict[str, Any]:
        """What it is, as plain data."""
        form, space = self.tables.format, self.space
        head: dict[str, Any] = {"source": self.name, "format": form.name, "os": form.system}
        head |= {"root": self._root(self.tables.root), "windows": self._windows()}
        if self.pid is not None:
            head |= {"pid": self.pid}
        if space is not None:
            head |= {"pid": space.pid, "frames_known": space.frames_known, "complete": space.complete}
        return {**head, "notes": list(self.notes)}

    def _windows(self) -> list[dict[str, Any]]:
        """Which addresses are translated, each window by its root."""
        known = [window for window in self.tables.windows if window.start < self.hidden]
        return [
            {"vaddr": f"{one.start:#x}", "size": one.end - one.start, "root": self._root(one.root)} for one in known
        ]

    def _root(self, root: int) -> str | None:
        """A root; None: the tables of a process were made here, and where they lie means nothing."""
        return f"{root:#x}" if self.space is None else None


def open_source(source: str, **options: Any) -> Opened:
    """Open what the options of ``source_options`` name; what else to know of it is said on standard error.

    Raises:
        click.UsageError: Options that are missing, contradict each other, or mean nothing for a process.
        ProcessError: There is no such process, or it may not be looked at.
    """
    pid = process_of(source, **options)
    if pid is None:
        from pagewalk.sources import notes_of

        tables, told = _image(source, **options)
        opened = Opened(source, tables, notes=(*told, *notes_of(tables)), pid=options["pid"])
        if _PID.fullmatch(source):
            complain(f"note: {source} is taken for the file of that name; the process would be {_PREFIX}{source}")
        _tell(opened.notes)
        return opened
    opened = _captured(pid)
    what = (
        f"process {pid}" if source.startswith(_PREFIX) else f"{source} is no file here, so it is process {pid}, which"
    )
    complain(f"note: {what} was captured as it runs: its tables are made from what the kernel tells of its pages")
    _tell(opened.notes)
    return opened


def _tell(notes: Iterable[str]) -> None:
    """Say what else to know of a source."""
    for note in notes:
        complain(f"note: {note}")


def process_of(source: str, **options: Any) -> int | None:
    """The process of this machine that a source names; None: it is a file.

    Raises:
        click.UsageError: It is one, and options are given, which mean nothing then; it should be one, and is no number.
        ProcessError: It is neither a file nor a process.
    """
    pid = _process(source)
    named = [name for name, value in sorted(options.items()) if value is not False and value not in (None, ())]
    if pid is not None and named:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise _usage(f"{_PREFIX}{pid} is a process, and takes no {given}, as memory images do.")
    return pid


def _process(source: str) -> int | None:
    """The process that a source names; None: it is a file."""
    if source.startswith(_PREFIX):
        if not _PID.fullmatch(digits := source.removeprefix(_PREFIX)):
            raise _usage(f"{shown(digits)} is not a PID: write {_PREFIX}1234.")
        return int(digits)
    if not _PID.fullmatch(source) or os.path.lexists(source):
        return None
    if Path("/proc/self").exists() and not Path(f"/proc/{source}").exists():
        raise ProcessError(errno.ESRCH, f"{source} is neither a file here nor a process of this machine")
    return int(source)


def open_told(source: str, **options: Any) -> Source:
    """As ``open_memory``; what else to know of the source is said on standard error."""
    opened = open_memory(source, **options)
    _tell(opened.notes)
    return opened


def open_memory(
    source: str,
    *,
    base: int | None,
    segment: Any,
    part: tuple[str, ...],
    source_type: str | None,
    stop: bool,
    writable: bool = False,
) -> Source:
    """What the options that are of the memory alone name, opened, and closed when the command ends: a machine goes on.

    A bar is shown where a file has to be unpacked first.

    Raises:
        click.UsageError: Options that contradict each other, or what the source is.
        OSError, ImageFormatError, UnsupportedError: As ``pagewalk.source``.
    """
    from pagewalk.report.progress import shown_bar
    from pagewalk.sources import source as open_any

    if base and segment:
        raise _usage("--base and --segment contradict each other: give the address in each --segment.")
    tell_of_cut_off_files()
    where: dict[str, Any] = {"base": base or 0, "segments": segment or None, "source_type": source_type, "stop": stop}
    where |= {"writable": True} if writable else {}
    with shown_bar("unpacking", sys.stderr) as move:
        try:
            opened = open_any([source, *part] if part else source, **where, progress=lambda done, _: move(done, None))
        except ImageFormatError:
            raise
        except ValueError as error:
            raise _usage(f"{error}.") from None
    click.get_current_context().call_on_close(opened.close)
    return opened


def _image(
    source: str,
    *,
    base: int | None,
    segment: Any,
    part: Any,
    source_type: str | None,
    stop: bool,
    writable: bool = False,
    **where: Any,
) -> tuple[PageTables, tuple[str, ...]]:
    """The page tables in a source, by the options that ``pagewalk.open`` has too; and what to know of them."""
    from pagewalk.sources import check_root

    given = [name for name in ("root", "registers", "pid") if where[name] is not None]
    if len(given) > 1:
        raise _usage(f"--{given[0]} and --{given[1]} contradict each other: give one or the other.")
    bytes_: dict[str, Any] = {"base": base, "segment": segment, "part": part, "source_type": source_type}
    opened = open_memory(source, **bytes_, stop=stop, writable=writable)
    if not given and not opened.cpus:
        why = "".join(f"; {one}" for one in opened.missing[:1])
        raise _usage(
            "Missing option '--root', '--registers' or '--pid': where an image's top table is "
            f"(--root auto finds it){why}."
        )
    notes: list[str] = []
    try:
        tables = opened.tables(**where, notes=notes)
        check_root(tables)
    except PagewalkError:
        _tell(opened.notes)  # they may say why
        raise
    if where["root"] == "auto":
        found = ", ".join(dict.fromkeys(f"{window.root:#x}" for window in tables.windows))
        notes.append(f"--root auto is {found}, format {tables.format.name}: pagewalk roots tells all that there are")
    return tables, (*_told(opened, by_cpu=given in ([], ["registers"])), *notes)


def _told(source: Source, *, by_cpu: bool) -> tuple[str, ...]:
    """What to know of a source before its tables are looked at."""
    told, many = [*source.notes, *(source.missing if by_cpu else ())], len(source.cpus)
    if source.packing:
        told.append(f"it is {source.packing}, and unpacked each time it is opened: unpack it to be faster")
    if many > 1 and by_cpu and not source.notes:
        told.append(f"of {many} CPUs the first that translates says where its tables are")
    return tuple(told)


def _captured(pid: int) -> Opened:
    """A process, captured."""
    try:
        from pagewalk.live import capture
    except ImportError as error:
        raise UnsupportedError(f"a process can be looked at on Linux only: there is no {error.name} here") from None
    space = capture(pid)
    return Opened(f"{_PREFIX}{pid}", space.tables, space, tuple(space.notes))


def _usage(why: str) -> click.UsageError:
    """A usage error that names the command to ask for help."""
    return click.UsageError(why, click.get_current_context(silent=True))
