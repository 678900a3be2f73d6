"""A campaign that several processes share.

How it works: the seeds are cut into short shares. Each process of the crew has sides of its own, on a processor of its
own: a side and its kernel worker take turns, so one processor is what the two need. Shares are looked at in the order
of their seeds, so a crew finds what one process would. A process that dies is replaced; its share proves nothing.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from pagewalk.conform.campaign.campaign import Campaign, kernel_and_model, run_campaign
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides.process import Process
from pagewalk.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagewalk.conform.campaign.campaign import Maker, Progress, Sides
    from pagewalk.conform.sides.side import Side

    Record = Callable[[range, Campaign], object]

__all__ = ["processors", "run_crew"]

_SHARE = 10
"""Sequences that a process of a crew takes at a time."""
_AHEAD = 2
"""Shares for each process that may be done before it is their turn to be looked at."""


def processors() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def run_crew(
    jobs: int,
    sides: Sides = kernel_and_model,
    *,
    seed: int = 0,
    sequences: int = 2000,
    make: Maker = generate,
    progress: Progress | None = None,
    record: Record | None = None,
) -> Campaign:
    """As ``run_campaign``, by several processes.

    Args:
        jobs: How many; 1 does it in this process.
        sides: Makes the two sides, in each process; a function of a module.
        seed, sequences, progress: See ``run_campaign``.
        make: Likewise; a function of a module, or a ``partial`` of one.
        record: Told of a few seeds at a time, in order, and what they gave.

    Raises:
        ProcessError: A process of the crew died before it had done anything.
    """
    seeds, record = range(seed, seed + sequences), record or (lambda seeds, gave: None)
    if jobs == 1:
        with sides() as (left, right):
            return _alone(left, right, seeds, make, progress, record)
    with _Crew(jobs, sides, make) as crew:
        return crew.run(seeds, progress or (lambda what, done: None), record)


def _alone(left: Side, right: Side, seeds: range, make: Maker, progress: Progress | None, record: Record) -> Campaign:
    """Do all of a range in this process, up to the first disagreement."""
    result = Campaign()
    for at in range(0, len(seeds), _SHARE):
        share = seeds[at : at + _SHARE]
        gave = run_campaign(left, right, seed=share.start, sequences=len(share), make=make, progress=progress)
        record(share, gave)
        result.add(gave)
        if gave.disagreement is not None:
            break
    return result


class _Member:
    """A process of the crew, and the share it is at."""

    def __init__(self, number: int, sides: Sides, make: Maker) -> None:
        available = processors()
        self.process = Process("pagewalk.conform.campaign.member")
        self.share: range | None = None
        self._ready = False
        self._tell(sys.path, (available[number % len(available)], sides, make))

    def _tell(self, *messages: Any) -> None:
        """Send messages; that it has died is noticed when it should answer."""
        with suppress(ConnectionError):
            for message in messages:
                self.process.pipe.send(message)

    def take(self, share: range) -> None:
        """Begin a share."""
        self.share = share
        self._tell(share)

    def answer(self) -> Campaign | None:
        """What came of the share, None if it has only begun. Nothing is proved where the process died.

        Raises:
            ProcessError: It died before it could begin: the next one would too.
            Exception: What ended it.
        """
        assert self.share is not None
        try:
            answer: Any = self.process.pipe.recv()
        except (EOFError, ConnectionError):
            why = f"process {self.process.pid} of the crew died (status {self.process.kill()})"
            if not self._ready:
                raise ProcessError(errno.ESRCH, why) from None
            answer = Campaign(inconclusive=[(seed, why) for seed in self.share])
        if isinstance(answer, Exception):
            raise answer
        self._ready = True
        result: Campaign | None = answer
        return result


class _Crew:
    """Its processes; they end with the ``with``."""

    def __init__(self, jobs: int, sides: Sides, make: Maker) -> None:
        self._how = sides, make
        self._members: dict[int, _Member] = {}
        self._jobs = jobs

    def __enter__(self) -> _Crew:
        try:
            for number in range(self._jobs):
                self._start(number)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self, number: int) -> None:
        self._members[number] = _Member(number, *self._how)

    def _end(self) -> None:
        for member in self._members.values():
            member.process.kill()

    def run(self, seeds: range, say: Progress, record: Record) -> Campaign:
        """Do all of a range, up to the first disagreement."""
        result = Campaign()
        shares = deque(seeds[at : at + _SHARE] for at in range(0, len(seeds), _SHARE))
        order = deque(share.start for share in shares)
        done: dict[int, Campaign] = {}
        while order:
            self._hand_out(shares, order[0] + _SHARE * _AHEAD * self._jobs)
            done |= dict(self._answers())
            while order and order[0] in done:
                first = order.popleft()
                share = done.pop(first)
                record(range(first, min(first + _SHARE, seeds.stop)), share)
                result.add(share)
                say(f"{result.agreed} agree", share.agreed + len(share.inconclusive))
                if share.disagreement is not None:
                    return result
        return result

    def _hand_out(self, shares: deque[range], limit: int) -> None:
        """Give shares that begin below a limit to who has none."""
        for member in self._members.values():
            if member.share is None and shares and shares[0].start < limit:
                member.take(shares.popleft())

    def _answers(self) -> Iterator[tuple[int, Campaign]]:
        """Wait until there are any: the first seed of a share, and what came of it."""
        at_work = {member.process.pipe: number for number, member in self._members.items() if member.share is not None}
        for pipe in wait(list(at_work)):
            number = at_work[pipe]  # type: ignore[index]
            member = self._members[number]
            answer, share = member.answer(), member.share
            if answer is None or share is None:
                continue
            member.share = None
            if member.process.pipe.closed:
                self._start(number)
            yield share.start, answer
