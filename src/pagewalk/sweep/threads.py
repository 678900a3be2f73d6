"""Several threads on one task, where there is enough of it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

from pagewalk.doors import integer
from pagewalk.sweep.columns import Sink
from pagewalk.sweep.descent import answer
from pagewalk.sweep.joiner import Joiner

if TYPE_CHECKING:
    from pagewalk.sweep.progress import Progress
    from pagewalk.sweep.questions import Question
    from pagewalk.sweep.reader import Reader
    from pagewalk.sweep.task import Task

__all__ = ["in_parallel", "workers"]

ENOUGH: Final = 1 << 20
"""Entries for which another thread pays."""
MOST: Final = 8
"""More threads than the memory bus keeps busy."""
_PATIENCE: Final = 0.1


def workers(threads: int | None, entries: int) -> int:
    """How many threads to use for so many entries.

    Raises:
        ValueError: Fewer than one was asked for.
    """
    if threads is not None and integer(threads, "threads") < 1:
        raise ValueError(f"a sweep needs a thread, not {threads}")
    most = min(_cpus(), MOST) if threads is None else threads
    return max(min(most, entries // ENOUGH), 1)


def _cpus() -> int:
    """CPUs that this process may use; not every operating system tells of more than those there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


class _Stopped(Exception):
    """Another thread has failed, or the user had enough."""


def in_parallel(
    threads: int, reader: Reader, question: Question, task: Task, sink: Sink, joiner: Joiner, progress: Progress
) -> None:
    """Answer a task with several threads, each for a part of the addresses. Everything is then as one thread leaves it.

    Args:
        threads: How many, 2 or more.
        reader: Its findings take over what the threads find.
        question: What is asked.
        task: The task.
        sink: Where the rows go.
        joiner: Joins them.
        progress: Told by this thread.
    """
    parts = list(task.split(threads))
    readers = [reader.fork() for _ in parts]
    sinks = _sinks(sink, parts, reader)
    stop = threading.Event()

    def work(at: int) -> None:
        mine = Joiner(question)
        readers[at].progress, readers[at].quiet = progress, True
        for block in answer(readers[at], question, parts[at], mine.room(sinks[at])):
            if stop.is_set():
                raise _Stopped
            mine.push(block, sinks[at].add)
        mine.close(sinks[at].add)

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work, at) for at in range(len(parts))]
        try:
            left = set(jobs)
            while left:
                _, left = wait(left, _PATIENCE, "FIRST_EXCEPTION")
                progress.tell()
                for job in set(jobs) - left:
                    job.result()
        finally:
            stop.set()
    for mine in readers:
        reader.findings.absorb(mine.findings)
    if sinks[0].fixed:
        sink.take_over(sinks)
        return
    for part_sink in sinks:
        for block in part_sink.drain():
            joiner.push(block, sink.add)


def _sinks(sink: Sink, parts: list[Task], reader: Reader) -> list[Sink]:
    """A sink for each part: a share of the room set aside, or one of its own."""
    per_table = reader.last.entries
    sizes = [len(part.tables) * per_table + len(part.rows[0]) for part in parts]
    if "size" in sink.schema.names or sink.room(sum(sizes)) is None:
        return [Sink(sink.schema) for _ in parts]
    return [sink.share(sum(sizes[:at]), size) for at, size in enumerate(sizes)]
