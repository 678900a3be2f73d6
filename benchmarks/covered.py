"""What random sequences ask: how many of each call and flag are in the sequences of some seeds.

``python -m benchmarks.covered`` counts the first sequences of every kind that ``pagewalk conform`` draws, and all pairs
of odd arguments; with ``--write`` it puts the table into docs/conformance.md. Nothing is run: a sequence follows from
its seed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pagewalk import abi
from pagewalk.abi import limits, pagemap, uffd
from pagewalk.conform.scenarios import Fcntl, Limited, Step
from pagewalk.conform.scenarios.arguments import pairs
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.scenarios.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pagewalk.conform.scenarios import Scenario

__all__ = ["ROWS", "Row", "count", "table"]

SEQUENCES = 2000
KINDS: dict[str, Callable[[int], Scenario]] = {
    "of every sort": generate,
    "with userfaultfd": partial(generate, uffd=True),
    "with hugetlb memory": partial(generate, hugetlb=True),
    "with swap": partial(generate, swap=True),
}
PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
BEGIN, END = "<!-- covered: made by python -m benchmarks.covered --write -->\n", "<!-- covered: end -->\n"
MODULES = (abi, limits, uffd, pagemap)


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        what: A call, or the beginning of the names of flags.
        modelled: What the model does with it.
        versions: What other kernels do.
    """

    what: str
    modelled: str = "yes"
    versions: str = ""


WRITTEN = (
    "empty entries are WRITTEN in 6.12.117 and 6.18.44, not in 6.18.15; in 7.3.4 nothing is outside what userfaultfd "
    "is told of; soft-dirty pages or none, it is the same"
)
SOFT_DIRTY = "yes; with soft-dirty pages compared with a recorded 6.18.15"
CALLS = {
    "mremap": Row("mremap", versions="several areas in one move: since 6.17"),
    "mseal": Row("mseal", versions="since 6.10"),
    "madvise": Row("madvise"),
    "process_madvise": Row("process_madvise", versions="all advice on oneself: since 6.13"),
    "pagemap_scan": Row("PAGEMAP_SCAN", versions=f"since 6.7; PAGE_IS_GUARD since 6.15; {WRITTEN}"),
    "clear_refs": Row("/proc/PID/clear_refs", SOFT_DIRTY, "soft-dirty pages where the kernel is built with them"),
    "swapoff": Row("swapoff, swapon", "the swap cache too, readahead is 0 (vm.page-cluster)"),
    "limited": Row("setrlimit, vm.max_map_count", "RLIMIT_AS, DATA, MEMLOCK; not STACK, which is 8 MiB"),
    "pkey_alloc": Row("pkey_alloc", "yes; on a CPU with keys in a guest (`tests/conformance/recorded.py`)"),
    "pkey_free": Row("pkey_free", "likewise"),
    "pkey_mprotect": Row("pkey_mprotect", "likewise"),
    "memfd_create": Row("memfd_create"),
    "fcntl": Row("fcntl", "F_ADD_SEALS, F_GET_SEALS"),
    "register_wp": Row("UFFDIO_REGISTER", "write protection; other modes are refused by name"),
    "uffdio_unregister": Row("UFFDIO_UNREGISTER"),
    "writeprotect": Row("UFFDIO_WRITEPROTECT"),
    "read": Row("a read by the CPU"),
    "write": Row("a write by the CPU"),
    "execute": Row("an instruction fetched by the CPU"),
    "kernel_read": Row("process_vm_readv", "on oneself"),
    "kernel_write": Row("process_vm_writev", "on oneself"),
    "pool": Row("the hugetlb pool's counters"),
    "pread": Row("pread", "yes"),
    "pwrite": Row("pwrite"),
    "punch_hole": Row("fallocate", "PUNCH_HOLE with KEEP_SIZE"),
    "truncate": Row("ftruncate"),
}
"""Rows of steps, by their call, where there is more to say than its name."""
FLAGS = {
    "MADV_HWPOISON": Row("MADV_HWPOISON", "yes; compared in a guest alone, as it destroys frames"),
    "MADV_SOFT_OFFLINE": Row("MADV_SOFT_OFFLINE", "yes; compared in a guest alone, as it destroys frames"),
    "MADV_MERGEABLE": Row("MADV_MERGEABLE", "the flag; ksmd never runs"),
    "MADV_GUARD_INSTALL": Row("MADV_GUARD_INSTALL", versions="since 6.13; on files since 6.15"),
    "MADV_GUARD_REMOVE": Row("MADV_GUARD_REMOVE", versions="since 6.13; on files since 6.15"),
    "MADV_COLLAPSE": Row("MADV_COLLAPSE", versions="since 6.1; of areas that may not be written since 6.18"),
    "MADV_POPULATE_READ": Row("MADV_POPULATE_READ", versions="since 5.14"),
    "MADV_POPULATE_WRITE": Row("MADV_POPULATE_WRITE", versions="since 5.14"),
    "MADV_DONTNEED_LOCKED": Row("MADV_DONTNEED_LOCKED", versions="since 5.18"),
    "MADV_FREE": Row("MADV_FREE", versions="a huge page goes or stays as a whole: since 6.11"),
    "MAP_DROPPABLE": Row("MAP_DROPPABLE", versions="since 6.11"),
    "MAP_STACK": Row("MAP_STACK", versions="means no huge pages since 6.7"),
    "MAP_HUGE_1GB": Row("MAP_HUGE_1GB", "yes; in a guest (`tests/conformance/recorded.py`)"),
    "MREMAP_DONTUNMAP": Row("MREMAP_DONTUNMAP", versions="since 5.7; of shared memory since 5.13"),
    "F_SEAL_EXEC": Row("F_SEAL_EXEC", versions="since 6.3"),
    "MFD_EXEC": Row("MFD_EXEC", versions="since 6.3"),
    "MFD_NOEXEC_SEAL": Row("MFD_NOEXEC_SEAL", versions="since 6.3"),
    "RLIMIT_AS": Row("RLIMIT_AS", "counted with setrlimit above"),
    "RLIMIT_DATA": Row("RLIMIT_DATA", "counted with setrlimit above"),
    "RLIMIT_MEMLOCK": Row("RLIMIT_MEMLOCK", "counted with setrlimit above; binds who lacks CAP_IPC_LOCK"),
    "WP_UNPOPULATED": Row("WP_UNPOPULATED", versions="since 6.4"),
    "WP_ASYNC": Row("WP_ASYNC", versions="since 6.7"),
    "PM_SCAN_WP_MATCHING": Row("PM_SCAN_WP_MATCHING", versions="since 6.7"),
}
"""Rows of flags, likewise."""
FIELDS = {"prot": ("PROT_",), "advice": ("MADV_",), "argument": ("F_SEAL_",), "command": ("F_ADD_", "F_GET_")}
FLAG_FIELDS = {
    "PagemapScan": ("PM_SCAN_",),
    "Mmap": ("MAP_",), "Mremap": ("MREMAP_",), "Mlock": ("MLOCK_",), "Mlockall": ("MCL_",), "Msync": ("MS_",),
    "MemfdCreate": ("MFD_",),
}  # fmt: skip
MASKS = "MAP_TYPE", "MAP_HUGE_SHIFT", "PM_SCAN_ARG"
FEATURES = {"unpopulated": "WP_UNPOPULATED", "later": "WP_ASYNC"}
PREFIXES = (
    "PROT_", "MAP_", "MREMAP_", "MLOCK_", "MCL_", "MS_", "MADV_", "F_", "MFD_", "PKEY_", "RLIMIT_", "WP_UNPOPULATED",
    "WP_ASYNC", "PM_SCAN_",
)  # fmt: skip


def numbers() -> dict[str, int]:
    """Every flag of the calls, by its name."""
    names = {name: getattr(module, name) for module in MODULES for name in module.__all__}
    return {name: value for name, value in names.items() if name.startswith(PREFIXES) and name not in MASKS}


NUMBERS = numbers()
ROWS: dict[str, Row] = {
    **{step.call: CALLS.get(step.call, Row(step.call)) for step in STEPS.values()},
    **{name: FLAGS.get(name, Row(name)) for name in NUMBERS},
}
"""Every call and every flag."""


def _steps(sequences: int) -> Iterator[Step]:
    """The steps that are counted."""
    for kind in KINDS:
        for seed in range(sequences):
            yield from KINDS[kind](seed).steps
    yield from pairs()


def count(steps: Iterable[Step]) -> Counter[str]:
    """How many of each row there are."""
    found: Counter[str] = Counter()
    for step in steps:
        found[step.call] += 1
        if isinstance(step, Limited):
            found[f"RLIMIT_{step.limit.upper()}"] += 1
            found.update(count([step.taken]))
        found.update(name for field in fields(step) for name in _named(step, field.name, getattr(step, field.name)))
    return found


def _named(step: Step, field: str, value: Any) -> list[str]:
    """The names of the numbers in a field of a step."""
    kind = type(step).__name__
    prefixes = FLAG_FIELDS.get(kind, ()) if field == "flags" else FIELDS.get(field, ())
    if kind == "PkeyAlloc" and field == "rights":
        prefixes = ("PKEY_",)
    if kind == "Register" and field in FEATURES and value:
        return [FEATURES[field]]
    if field == "argument" and isinstance(step, Fcntl) and step.command != limits.F_ADD_SEALS:
        return []
    return [
        name for name, number in NUMBERS.items() if name.startswith(prefixes or ("-",)) and _has(name, number, value)
    ]


def _has(name: str, number: int, value: int) -> bool:
    """Whether a value has a number: an advice, a command and a type of mapping are one, flags are bits."""
    if name.startswith(("MADV_", "F_ADD_", "F_GET_")):
        return value == number
    if name in ("MAP_SHARED", "MAP_PRIVATE", "MAP_SHARED_VALIDATE", "MAP_DROPPABLE"):
        return value & abi.MAP_TYPE == number
    if name.startswith(("MAP_HUGE_", "MFD_HUGE_")):
        return (
            bool(value & (abi.MAP_HUGETLB | limits.MFD_HUGETLB)) and value >> abi.MAP_HUGE_SHIFT & 0x3F == number >> 26
        )
    return value & number == number if number else not value


def table(found: Counter[str], sequences: int) -> str:
    """The table, as Markdown."""
    lines = [
        f"Counted in the first {sequences:,} sequences {', '.join(KINDS)},",
        f"and in all {len(pairs()):,} pairs of odd arguments.\n",
        "| call or flag | modelled | compared | differs by version |",
        "|---|---|---:|---|",
    ]
    lines += [f"| `{row.what}` | {row.modelled} | {found[name]:,} | {row.versions} |" for name, row in ROWS.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, and print the table or put it into its page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sequences", type=int, default=SEQUENCES)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    text = table(count(_steps(options.sequences)), options.sequences)
    if not options.write:
        print(text, end="")
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
