"""A progress bar for what takes long, where somebody may be watching."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

from pagewalk.report.words import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Item = TypeVar("Item")

__all__ = ["PATIENCE", "shown_bar", "watched"]

PATIENCE = 1.0
"""Seconds before a bar appears."""


def watched(
    blocks: Iterable[tuple[int, Item]],
    total: int | Callable[[], int],
    stream: TextIO | None,
    *,
    patience: float = PATIENCE,
) -> Iterator[Item]:
    """Hand on the items, with a bar on ``stream`` if it is a terminal that can show one and they take long.

    Args:
        blocks: ``(steps, item)``.
        total: Steps in all, or who to ask, if that is not known yet.
        stream: Where the bar goes; None: nowhere.
        patience: Seconds before it appears.
    """
    steps_in_all = total if callable(total) else lambda: total
    visible = _can_show(stream)
    begun, done = time.monotonic(), 0
    bar = None
    try:
        for steps, item in blocks:
            yield item
            done += steps
            if visible and bar is None and time.monotonic() - begun >= patience:
                bar = _Bar(stream, "writing")
            if bar is not None:
                bar.show(done, steps_in_all())
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def shown_bar(
    what: str, stream: TextIO | None, *, patience: float = PATIENCE
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar moved by bytes, if ``stream`` is a terminal that can show one: those done, and of how many, if known.

    Args:
        what: What is being done.
        stream: Where the bar goes; None: nowhere.
        patience: Seconds before it appears.
    """
    visible, begun, bars = _can_show(stream), time.monotonic(), list[_Bar]()

    def move(done: int, total: int | None) -> None:
        if visible and not bars and time.monotonic() - begun >= patience:
            bars.append(_Bar(stream, what))
        for bar in bars:
            bar.show(done, total, f"{what} {size_text(done)}")

    try:
        yield move
    finally:
        for bar in bars:
            bar.close()


def _can_show(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can show a bar."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


class _Bar:
    """A bar that leaves nothing behind."""

    def __init__(self, stream: TextIO | None, what: str) -> None:
        from rich.console import Console  # heavy, and seldom wanted
        from rich.progress import Progress

        self._progress = Progress(console=Console(file=stream), transient=True)
        self._task = self._progress.add_task(what, total=None)
        self._progress.start()

    def show(self, done: int, total: int | None, what: str | None = None) -> None:
        """Move it."""
        self._progress.update(self._task, completed=done, total=total, description=what)

    def close(self) -> None:
        """Take it away."""
        self._progress.stop()
