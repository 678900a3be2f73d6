"""What ``pagewalk map`` asks of the tables, and the text or JSON that comes of it, block by block."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pagewalk.cli.output import paint
from pagewalk.errors import UnsupportedError
from pagewalk.report.words import hexed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.cli.opening import Opened
    from pagewalk.cli.wanted import Wanted
    from pagewalk.errors import TranslationError
    from pagewalk.formats import Window
    from pagewalk.tables import PageTables

    Rows = npt.NDArray[Any]

__all__ = ["Listing", "finding_data", "head_of", "json_of", "text_of"]

_END: Final = 1 << 64
_FAR: Final = 1 << 48
"""From here on an address has more than 12 digits."""


@dataclass(kw_only=True)
class Listing:
    """A listing, and what has come of it so far.

    Attributes:
        source: What is listed.
        wanted: Which of it.
        start, end: The range; without an end, all from the start on.
        holes, state, pages, limit: As the options of that name.
        findings: What was malformed, once all rows have gone by.
        rows: How many have.
    """

    source: Opened = field(kw_only=False)
    wanted: Wanted = field(kw_only=False)
    start: int = 0
    end: int | None = None
    holes: bool = False
    state: bool = False
    pages: bool = False
    limit: int | None = None
    findings: list[TranslationError] = field(default_factory=list)
    rows: int = 0
    _done: int = 0
    _known: int = 0

    @property
    def verdict(self) -> int:
        """The exit code: not 0 where nothing could be read."""
        return self.findings[0].exit_code if self.findings and not self.rows and self.wanted.everything else 0

    @property
    def emptiness(self) -> str:
        """What it means that there is no row."""
        if not self.wanted.everything:
            return "nothing passes the filters"
        return "nothing could be read" if self.findings else "nothing is mapped"

    @property
    def stop(self) -> int:
        """Where the listing ends.

        Raises:
            UnsupportedError: Nothing is known of the range.
        """
        hidden = self.source.hidden
        if self.start >= hidden:
            raise UnsupportedError(f"{self.start:#x}: of a process the kernel shows what lies below {hidden:#x} only")
        return min(self.source.tables.windows[-1].end if self.end is None else self.end, hidden)

    def mappings(self) -> Iterator[Rows]:
        """The rows of what is mapped, in blocks."""
        from pagewalk.report.rows import rows_of
        from pagewalk.sweep.listing import MAX_ROWS, iterate

        options: Any = {"coalesce": not self.pages, "entries": self.pages, "hardware": self.wanted.hardware}
        options |= {"where": self.wanted.of_entries, "findings": self.findings, "limit": MAX_ROWS}
        for columns in iterate(self.source.tables, self.start, self.stop, progress=self._tell, **options):
            rows = self.wanted.among(rows_of(columns))
            self.rows += len(rows)
            if len(rows):
                yield rows

    def gaps(self) -> Iterator[Rows]:
        """The rows of holes."""
        from pagewalk.report.rows import rows_of
        from pagewalk.sweep.listing import holes

        rows = rows_of(holes(self.source.tables, self.start, self.stop, findings=[]))
        if len(rows):
            yield rows

    def reaches_far(self) -> bool:
        """Whether there may be addresses of more than 12 digits: by the slots of top tables that hold something."""
        if self.holes or self.stop <= _FAR:
            return self.stop > _FAR
        return any(_holds(self.source.tables, window) for window in self.source.tables.windows if window.end > _FAR)

    def watched(self, blocks: Iterable[str]) -> Iterator[str]:
        """Text on its way, with a bar for whoever waits; none on a terminal that shows the text itself."""
        from pagewalk.report.progress import watched

        def steps() -> Iterator[tuple[int, str]]:
            before = 0
            for block in blocks:
                yield self._done - before, block
                before = self._done

        return watched(steps(), lambda: self._known, None if sys.stdout.isatty() else sys.stderr)

    def _tell(self, done: int, known: int) -> None:
        """Note how many tables are done, and how many are known."""
        self._done, self._known = done, known


def _holds(tables: PageTables, window: Window) -> bool:
    """Whether a window's top table holds something for addresses that are far."""
    top = tables.top(window)
    first, last = top.level.index(max(window.start, _FAR)), top.level.index(window.end - 1)
    return any(top.slots[at] for at in range(first, last + 1))


def text_of(listing: Listing) -> Iterator[str]:
    """The table and its summary."""
    from pagewalk.report.listing import Layout, summary, text_blocks
    from pagewalk.report.rows import Tally, by_address, joined

    rows = listing.mappings()
    if not listing.state and not listing.pages:
        rows = joined(rows, listing.source.tables.format.levels)
    if listing.holes:
        rows = by_address(rows, listing.gaps())
    tally = Tally(listing.source.tables if listing.source.space is None else None)
    entries = listing.pages and listing.source.space is None
    layout = Layout(listing.source.tables.format, paint, wide=listing.reaches_far(), entries=entries)
    yield from listing.watched(text_blocks(tally.watch(rows), layout, listing.limit))
    last = summary(
        tally,
        shown=listing.limit,
        findings=len(listing.findings),
        empty=listing.emptiness,
        system=listing.source.tables.format.system,
    )
    yield f"\n{last}\n"


def json_of(listing: Listing) -> Iterator[str]:
    """One object, a line a row: never joined further than ``pagewalk.mappings`` does."""
    from pagewalk.report.rows import Tally

    mapped, empty = Tally(), Tally()
    rows = _rows(listing, mapped.watch(listing.mappings()))
    first = [line for line in [next(rows, None)] if line is not None]  # an error comes before all text
    yield json.dumps(head_of(listing))[:-1]
    yield from _list("mappings", listing.watched(_separated(chain(first, rows))))
    if listing.holes:
        yield from _list("holes", _separated(_rows(listing, empty.watch(listing.gaps()))))
    yield from _list("findings", _separated(json.dumps(finding_data(error)) for error in listing.findings))
    counts = {"mappings": mapped.mapped, **({"holes": empty.holes} if listing.holes else {})}
    yield f',\n"counts": {json.dumps({**counts, "findings": len(listing.findings)})}}}\n'


def head_of(listing: Listing) -> dict[str, Any]:
    """What is listed: ``size`` is null for all of the address space, which is one more than 64 bits count."""
    size = listing.stop - listing.start
    return {**listing.source.json(), "vaddr": hexed(listing.start), "size": None if size == _END else size}


def _rows(listing: Listing, blocks: Iterable[Rows]) -> Iterator[str]:
    """A line a row, as many as are wanted; all blocks are gone through."""
    from pagewalk.report.listing import json_rows

    source, left = listing.source, listing.limit
    for block in blocks:
        some = block[:left]
        left = None if left is None else left - len(some)
        yield from json_rows(some, source.tables.format, entries=listing.pages, told=source.space is None)


def _list(name: str, lines: Iterator[str]) -> Iterator[str]:
    """A list inside the object."""
    yield f',\n"{name}": ['
    yield from lines
    yield "]"


def _separated(lines: Iterable[str]) -> Iterator[str]:
    """Each on a line of its own, commas between."""
    for at, line in enumerate(lines):
        yield f"{',' if at else ''}\n{line}"


def finding_data(error: TranslationError) -> dict[str, Any]:
    """What is wrong, as plain data."""
    place = {"vaddr": hexed(error.vaddr), "depth": error.depth, "entry": hexed(error.entry)}
    return {"error": type(error).__name__, **place, "message": str(error)}
