"""Many hostile files, one after the other: what each did, how long it took, and what it took of memory."""

from __future__ import annotations

import itertools
import random
import re
import resource
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pagewalk.errors import PagewalkError
from pagewalk.memory import blocks_of, extents_of
from pagewalk.memory.protocol import Closable, Fills, ReadsMany

if TYPE_CHECKING:
    from pathlib import Path

    from pagewalk.memory import Memory
    from tests.fuzz.target import Target

__all__ = ["Found", "campaign"]

HANG: Final = 10.0
"""Seconds after which an input is taken for one that never ends."""
SLOW: Final = 1.0
LARGE: Final = 200 << 10
"""KiB that all inputs together may add to the process."""
PASS: Final = 4 << 20
"""Bytes of a memory that are read."""


@dataclass
class Found:
    """What came of a campaign.

    Attributes:
        opened, refused: Inputs that were opened, and those that were refused with a documented error.
        past: Those that got past the header.
        errors: How often each error.
        slowest: Seconds of the slowest input; its number.
        grown: KiB that the process grew by.
        wrong: What must not be: the input's number, and why.
    """

    opened: int = 0
    refused: int = 0
    past: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    grown: int = 0
    wrong: list[tuple[int, str]] = field(default_factory=list)


def campaign(target: Target, inputs: int, folder: Path, seed: int = 0, first: int = 0) -> Found:
    """Open ``inputs`` mutated seeds. Each is made from its number alone: ``first=N, inputs=1`` makes the Nth again.

    Args:
        target: Whose files.
        inputs: How many.
        folder: Where they are written, one over the other.
        seed: Which ones.
        first: The number of the first one.
    """
    found, seeds, path = Found(), target.seeds(), folder / "input"
    headers = target.header if isinstance(target.header, tuple) else (target.header,)
    for valid in seeds:  # what is imported at the first use is not the first input's fault
        path.unlink(missing_ok=True)
        path.write_bytes(valid)
        with suppress(PagewalkError):
            _use(target.open(path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGALRM, _hangs)
    try:
        for number in range(first, first + inputs):
            rng = random.Random(f"{seed}.{number}")
            path.unlink(missing_ok=True)  # a mapped file that is cut off ends the process
            path.write_bytes(target.mutate(rng.choice(seeds), rng, rng.choice(headers)))
            _one(target, path, number, found)
    finally:
        signal.signal(signal.SIGALRM, old)
    found.grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if found.grown > LARGE:
        found.wrong.append((-1, f"all together took {found.grown >> 10} MiB"))
    return found


def _one(target: Target, path: Path, number: int, found: Found) -> None:
    """One input."""
    begun = _cpu()
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        _use(target.open(path))
        found.opened += 1
        found.past += 1
    except PagewalkError as error:
        found.refused += 1
        found.errors[type(error).__name__] += 1
        found.past += bool(target.refusal) and not re.search(target.refusal, str(error))
        if "\n" in str(error) or len(str(error)) > 1000:
            found.wrong.append((number, f"no line: {error}"))
    except BaseException as error:
        found.wrong.append((number, f"{type(error).__name__}: {error}"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took = _cpu() - begun
    found.slowest = max(found.slowest, (took, number))
    if took > SLOW:
        found.wrong.append((number, f"took {took:.2f} s"))


def _cpu() -> float:
    """Seconds that this process has had, and its children: others on the machine are nobody's fault."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + child.ru_utime + child.ru_stime


def _use(memory: Memory) -> None:
    """Ask a memory for what everybody asks: where it is, its first bytes, what is before and behind each run."""
    try:
        repr(memory)
        runs = extents_of(memory).tolist()
        assert all(low[1] < high[0] for low, high in itertools.pairwise(runs)), "runs overlap or touch"
        read = 0
        for _, block in blocks_of(memory, 1 << 16):
            read += len(block)
            if read > PASS:
                break
        for start, end in runs[:16]:
            for at in (start - 1, end - 1, end, start ^ 1 << 47):
                _read(memory, at)
            if isinstance(memory, ReadsMany):
                memory.read_many(range(start, start + (16 << 12), 1 << 12), 1 << 12)
            if isinstance(memory, Fills):
                memory.fill(range(start, start + (16 << 12), 1 << 12), 1 << 12, memoryview(bytearray(16 << 12)))
    finally:
        if isinstance(memory, Closable):
            memory.close()


def _read(memory: Memory, paddr: int) -> None:
    """Eight bytes, there or not."""
    try:
        assert len(memory.read(paddr, 8)) == 8
    except PagewalkError:
        return


def _hangs(*_: object) -> None:
    raise TimeoutError(f"hangs for {HANG} s")
