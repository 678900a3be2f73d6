"""Many random scenarios, until the first disagreement; several processes may share the work.

How it works: scenarios are numbered by their seeds. ``run_campaign`` compares two sides on a range of seeds. A *crew*
cuts the range into short shares and gives each to a process with sides of its own, on a processor of its own: a side
and its kernel worker take turns, so one processor is what the two need. Shares are looked at in the order of their
seeds, so a crew finds what one process would.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from pagewalk.conform.compare import compare
from pagewalk.conform.generate import generate
from pagewalk.conform.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.sharedctypes import Synchronized

    from pagewalk.conform.compare import Disagreement
    from pagewalk.conform.side import Side

    Sides = Callable[[], AbstractContextManager[tuple[Side, Side]]]

__all__ = ["Campaign", "Progress", "kernel_and_model", "processors", "run_campaign", "run_crew"]

_SHARE = 10
"""Sequences that a process of a crew takes at a time."""


@dataclass
class Campaign:
    """How far it came.

    Attributes:
        agreed: Scenarios on which the sides agree.
        inconclusive: Seeds of those that prove nothing, and why.
        seed: Of the scenario with the disagreement.
        disagreement: The first one, shrunk.
    """

    agreed: int = 0
    inconclusive: list[tuple[int, str]] = field(default_factory=list)
    seed: int | None = None
    disagreement: Disagreement | None = None

    def add(self, later: Campaign) -> None:
        """Take in what the seeds after these gave."""
        self.agreed += later.agreed
        self.inconclusive += later.inconclusive
        self.seed, self.disagreement = later.seed, later.disagreement


class Progress(Protocol):
    """Told what is being done."""

    def __call__(self, what: str, done: int) -> None:
        """``done`` more sequences are done."""


def run_campaign(
    left: Side,
    right: Side,
    *,
    seed: int = 0,
    sequences: int = 2000,
    steps: int = 30,
    progress: Progress | None = None,
) -> Campaign:
    """Compare two sides on the scenarios of consecutive seeds; shrink the first disagreement.

    Args:
        left, right: The sides.
        seed: The first seed.
        sequences: Scenarios at most.
        steps: Steps in each.
        progress: Told of each scenario, and of each attempt to shrink one.
    """
    result = Campaign()
    say = progress or (lambda what, done: None)
    for number in range(seed, seed + sequences):
        verdict = compare(generate(number, steps), left, right)
        say(f"seed {number}", 1)
        if verdict.disagreement is not None:
            result.seed = number
            result.disagreement = shrink(
                verdict.disagreement,
                left,
                right,
                progress=lambda left_over: say(f"shrinking, {left_over} attempts left", 0),
            )
            return result
        if verdict.inconclusive:
            result.inconclusive.append((number, verdict.inconclusive))
        else:
            result.agreed += 1
    return result


@contextmanager
def kernel_and_model() -> Iterator[tuple[Side, Side]]:
    """The running kernel and the simulated address space.

    Raises:
        UnsupportedError: There is no kernel to ask.
    """
    from pagewalk.conform.kernel import Kernel
    from pagewalk.conform.model import simulated

    with Kernel() as kernel:
        yield kernel, simulated()


def processors() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def run_crew(
    jobs: int,
    sides: Sides = kernel_and_model,
    *,
    seed: int = 0,
    sequences: int = 2000,
    steps: int = 30,
    progress: Progress | None = None,
) -> Campaign:
    """As ``run_campaign``, by several processes.

    Args:
        jobs: How many; 1 does it in this process.
        sides: Makes the two sides, in each process; a function of a module.
        seed, sequences, steps, progress: See ``run_campaign``.
    """
    if jobs == 1:
        with sides() as (left, right):
            return run_campaign(left, right, seed=seed, sequences=sequences, steps=steps, progress=progress)
    return _run_shares(jobs, sides, range(seed, seed + sequences), steps, progress or (lambda what, done: None))


def _run_shares(jobs: int, sides: Sides, seeds: range, steps: int, say: Progress) -> Campaign:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    result, context = Campaign(), get_context("spawn")
    number = context.Value("i", 0)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_join, initargs=(number, processors()))
    shares = (seeds[at : at + _SHARE] for at in range(0, len(seeds), _SHARE))
    try:
        with _uninterrupted():
            waiting = [pool.submit(_do_share, sides, share, steps) for share in islice(shares, 2 * jobs)]
        while waiting:
            share = waiting.pop(0).result()
            result.add(share)
            say(f"{result.agreed} agree", share.agreed + len(share.inconclusive))
            if share.disagreement is not None:
                break
            waiting += [pool.submit(_do_share, sides, more, steps) for more in islice(shares, 1)]
    finally:
        pool.shutdown(cancel_futures=True)
    return result


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put interrupts off; processes and threads started meanwhile never get any: they end with the first process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _join(number: Synchronized[int], available: list[int]) -> None:
    """Begin a process of a crew, on a processor of its own."""
    with number.get_lock():
        os.sched_setaffinity(0, {available[number.value % len(available)]})
        number.value += 1


_SIDES: list[tuple[Side, Side]] = []
"""Of a process of a crew, once it has taken its first share; they end with the process."""


def _do_share(sides: Sides, seeds: range, steps: int) -> Campaign:
    if not _SIDES:
        from atexit import register

        making = sides()
        _SIDES.append(making.__enter__())
        register(partial(making.__exit__, None, None, None))
    return run_campaign(*_SIDES[0], seed=seeds.start, sequences=len(seeds), steps=steps)
