"""Lists of processes from hostile memories: ``python -m tests.fuzz.processes PART --inputs N [--seed S] [--first N]``.

A real kernel's memory, cut down to what a list takes, is made hostile: pointers are led elsewhere, numbers become huge,
types lie about their members, pages are missing. Each input follows from its number alone. The parts: ``whole``, from
the search for a kernel on; ``lists``, the tasks and VMAs of a kernel that is known; ``btf``, its types alone.
"""

from __future__ import annotations

import argparse
import lzma
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import pagewalk as pw
from pagewalk.sources.linux.btf import SMALLEST, Btf, BtfError
from pagewalk.sources.linux.layout import Layout
from pagewalk.sources.linux.maple import Maple
from pagewalk.sources.linux.names import Names
from pagewalk.sources.linux.virtual import Virtual
from pagewalk.sources.rows import Kernels
from tests.cut import PAGE, memory_of, unpacked

__all__ = ["PARTS", "SEEDS", "Found", "campaign", "hostile", "pages_of"]

DATA: Final = Path(__file__).parents[1] / "data"
SEEDS: Final = ("processes-x86_64-5.10", "processes-x86_64-6.1-pti", "processes-arm64-4k")
NUMBERS: Final = (
    0,
    1,
    7,
    0xFF,
    0xFFFF,
    1 << 22,
    1 << 31,
    (1 << 32) - 1,
    1 << 47,
    1 << 63,
    (1 << 64) - 8,
    (1 << 64) - 1,
)
SLOW: Final = 1.0
"""Seconds that an input may take."""
LARGE: Final = 200 << 10
"""KiB that all inputs together may add to the process."""
LONGEST: Final = 1000
ASKED: Final = (
    ("task_struct", ("pid", "comm", "tasks.next", "thread_node", "usage", "nsproxy")),
    ("mm_struct", ("map_count", "start_brk", "context.vdso|", "mm_mt|mmap", "pgd")),
    ("vm_area_struct", ("vm_start", "vm_flags", "anon_name|")),
)
NOWHERE: Final = Virtual(pw.PageTables(pw.Ram(1 << 12), 0))
_BTF: Final = b"\x9f\xeb\x01\x00\x18\0\0\0"


@cache
def pages_of(name: str) -> dict[int, bytes]:
    """The pages of a cut image."""
    return unpacked(lzma.decompress((DATA / f"{name}.cut.xz").read_bytes()))


@cache
def types_of(name: str) -> tuple[int, ...]:
    """The pages in which its types are; strings come behind them, and what fills them up."""
    pages = pages_of(name)
    (first,) = (at for at, page in pages.items() if _BTF in page and _is_btf(_from(pages, at)))
    return tuple(at for at in range(first, first + 8 * PAGE, PAGE) if at in pages)


def _from(pages: dict[int, bytes], first: int) -> bytes:
    """The bytes from where BTF begins in a page on."""
    data = b"".join(pages.get(at, b"") for at in range(first, first + SMALLEST + 2 * PAGE, PAGE))
    return data[max(data.find(_BTF), 0) :]


def _is_btf(data: bytes) -> bool:
    try:
        Btf(data)
    except BtfError:
        return False
    return True


def hostile(number: int, seed: int = 0, types: float = 0.3) -> tuple[str, dict[int, bytes]]:
    """A seed's name, and its pages after one to eight changes, some of them among its types."""
    rng = random.Random(f"{seed}.{number}")
    name = rng.choice(SEEDS)
    pages = dict(pages_of(name))
    addresses = list(pages)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.choice(types_of(name) if rng.random() < types else addresses)
        if rng.random() < 0.02:
            pages.pop(at, None)
        elif at in pages:
            pages[at] = _changed(pages, at, addresses, rng)
    return name, pages


def _changed(pages: dict[int, bytes], at: int, addresses: list[int], rng: random.Random) -> bytes:
    """A page with another word, most likely in place of one that holds something; or with another bit."""
    page = bytearray(pages[at])
    full = [place for place in range(0, PAGE, 8) if any(page[place : place + 8])]
    place = rng.choice(full) if full and rng.random() < 0.9 else rng.randrange(0, PAGE, 8)
    if rng.random() < 0.2:
        page[place + rng.randrange(8)] ^= 1 << rng.randrange(8)
        return bytes(page)
    was = int.from_bytes(page[place : place + 8], "little")
    there = pages.get(rng.choice(addresses), page)
    other = rng.randrange(0, PAGE, 8)
    new = rng.choice(
        (
            rng.choice(NUMBERS),
            was + rng.choice((-1, 1, 8, -8, 16, 64, PAGE, -PAGE)),
            int.from_bytes(there[other : other + 8], "little"),
            int.from_bytes(page[other : other + 8], "little"),
            rng.getrandbits(64),
            was & ~0xFFFF_FFFF | rng.getrandbits(32),
        )
    )
    page[place : place + 8] = (new % (1 << 64)).to_bytes(8, "little")
    return bytes(page)


@cache
def kernels_of(name: str) -> Kernels:
    """The kernel of a cut image as it is."""
    return Kernels.of(memory_of(pages_of(name)), {})


def whole(number: int, seed: int) -> str:
    """The processes of a memory, and some address spaces."""
    _, pages = hostile(number, seed)
    return judge(pw.Source("hostile", "raw", memory_of(pages)), random.Random(f"{seed}:{number}"))


def lists(number: int, seed: int) -> str:
    """The same, of a kernel that is known."""
    name, pages = hostile(number, seed, types=0)
    kept = {"kernels": kernels_of(name)}
    return judge(pw.Source("hostile", "raw", memory_of(pages), kept=kept), random.Random(f"{seed}:{number}"))


def btf(number: int, seed: int) -> str:
    """A kernel's types, and everything that is asked of them."""
    name, pages = hostile(number, seed, types=1)
    try:
        found = Btf(_from(pages, types_of(name)[0]))
        for structure, members in ASKED:
            Layout(found, structure, members)
        Names(found, NOWHERE)
        if found.has("maple_tree"):
            Maple(found, [])
    except BtfError as error:
        _check([str(error)])
        return type(error).__name__
    return ""


def judge(source: pw.Source, rng: random.Random) -> str:
    """List what is there, and open some of it: what came of it, a documented error's name or nothing.

    Raises:
        AssertionError: A note is none.
        Exception: Whatever is not documented.
    """
    notes: list[str] = []
    try:
        cost, sweep, threads = (rng.random() < 0.3 for _ in range(3))
        rows = source.processes(notes=notes, cost=cost, sweep=sweep, threads=threads)
    except (pw.UnsupportedError, pw.MemoryReadError) as error:
        _check([str(error)])
        return type(error).__name__
    with_root = rows["pid"][rows["root"] != 0].tolist()
    for pid in rng.sample(with_root, min(2, len(with_root))):
        try:
            space = source.space(pid)
        except (pw.ProcessError, pw.UnsupportedError, pw.BadRoot, pw.MemoryReadError) as error:
            _check([str(error)])
            continue
        notes += space.notes
        assert [vma.start for vma in space.vmas] == sorted(vma.start for vma in space.vmas)
    _check(notes)
    return ""


def _check(notes: list[str]) -> None:
    for note in notes:
        assert "\n" not in note, note
        assert len(note) < LONGEST, note


@dataclass
class Found:
    """What came of a campaign."""

    listed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    grown: int = 0
    wrong: list[tuple[int, str]] = field(default_factory=list)


PARTS: Final = {"whole": whole, "lists": lists, "btf": btf}


def campaign(part: str, inputs: int, seed: int = 0, first: int = 0) -> Found:
    """Give a part so many hostile inputs."""
    found, ask = Found(), PARTS[part]
    ask(0, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, first + inputs):
        begun = time.process_time()
        try:
            error = ask(number, seed)
        except BaseException as odd:
            found.wrong.append((number, f"{type(odd).__name__}: {odd}"))
        else:
            found.errors[error] += bool(error)
            found.listed += not error
        took = time.process_time() - begun
        found.slowest = max(found.slowest, (took, number))
        if took > SLOW:
            found.wrong.append((number, f"took {took:.2f} s"))
    found.grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if found.grown > LARGE:
        found.wrong.append((-1, f"all together took {found.grown >> 10} MiB"))
    return found


def main() -> int:
    """Run a campaign and say what came of it."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz.processes", description=__doc__)
    words.add_argument("part", choices=PARTS)
    words.add_argument("--inputs", type=int, default=100_000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--first", type=int, default=0, help="the number of the first input")
    asked = words.parse_args()
    begun = time.perf_counter()
    found = campaign(asked.part, asked.inputs, asked.seed, asked.first)
    print(f"{asked.inputs:,} inputs in {time.perf_counter() - begun:.0f} s: {found.listed:,} listed")
    print(", ".join(f"{name} {count:,}" for name, count in found.errors.most_common() if name))
    print(f"slowest {found.slowest[0]:.3f} s (input {found.slowest[1]}); grown by {found.grown >> 10} MiB")
    for number, why in found.wrong[:20]:
        print(f"WRONG: input {number}: {why}")
    return len(found.wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
