"""From the SOURCE argument to page tables: a memory image, or a process that is captured."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from pagewalk.cli.cutoff import tell_of_cut_off_files
from pagewalk.cli.status import complain
from pagewalk.doors import shown
from pagewalk.errors import ProcessError, UnsupportedError

if TYPE_CHECKING:
    from pagewalk.live import Capture
    from pagewalk.tables import PageTables

__all__ = ["Opened", "open_source"]

_PREFIX: Final = "pid:"
_PID: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class Opened(NamedTuple):
    """What a SOURCE turned out to be.

    Attributes:
        name: The source: a path, or ``pid:N``.
        tables: Its page tables.
        space: The process that they were made from; None: they are those of an image.
        notes: What else to know of it.
    """

    name: str
    tables: PageTables
    space: Capture | None = None
    notes: tuple[str, ...] = ()

    @property
    def hidden(self) -> int:
        """From which address on nothing is known: the kernel's half, of a process. 2**64: all is known."""
        return 1 << 64 if self.space is None else self.tables.windows[0].end

    def json(self) -> dict[str, Any]:
        """What it is, as plain data."""
        form, space = self.tables.format, self.space
        head: dict[str, Any] = {"source": self.name, "format": form.name, "os": form.system}
        head |= {"root": self._root(self.tables.root), "windows": self._windows()}
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
    pid = _process(source)
    if pid is None:
        from pagewalk.sources import notes_of

        tables = _image(source, **options)
        opened = Opened(source, tables, notes=tuple(notes_of(tables)))
        if _PID.fullmatch(source):
            complain(f"note: {source} is taken for the file of that name; the process would be {_PREFIX}{source}")
        _tell(opened)
        return opened
    if given := [f"--{name.replace('_', '-')}" for name, value in sorted(options.items()) if value not in (None, ())]:
        raise _usage(f"{_PREFIX}{pid} is a process, and takes no {', '.join(given)}, as memory images do.")
    opened = _captured(pid)
    what = (
        f"process {pid}" if source.startswith(_PREFIX) else f"{source} is no file here, so it is process {pid}, which"
    )
    complain(f"note: {what} was captured as it runs: its tables are made from what the kernel tells of its pages")
    _tell(opened)
    return opened


def _tell(opened: Opened) -> None:
    """Say what else to know of a source."""
    for note in opened.notes:
        complain(f"note: {note}")


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


def _image(source: str, *, base: int | None, segment: Any, **where: Any) -> PageTables:
    """The page tables in a memory image, by the options that ``pagewalk.open`` has too: root, registers, format, os."""
    from pagewalk.sources import check_root, refuse_remote
    from pagewalk.sources import open as open_image

    refuse_remote(source)
    if where["root"] is None and where["registers"] is None:
        raise _usage("Missing option '--root' or '--registers': where an image's top table is (--root auto finds it).")
    if where["root"] is not None and where["registers"] is not None:
        raise _usage("--root and --registers contradict each other: give one or the other.")
    if base and segment:
        raise _usage("--base and --segment contradict each other: give the address in each --segment.")
    tell_of_cut_off_files()
    tables = open_image(source, base=base or 0, segments=segment or None, **where)
    check_root(tables)
    if where["root"] == "auto":
        found = ", ".join(dict.fromkeys(f"{window.root:#x}" for window in tables.windows))
        complain(f"note: --root auto is {found}, format {tables.format.name}: pagewalk roots tells all that there are")
    return tables


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
