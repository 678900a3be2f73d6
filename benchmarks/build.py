"""``python -m benchmarks.build``: page tables built from ten layouts, checked, and read from a file.

Everything is CPU time of the best of some rounds. ``build``: from a layout to the tables' bytes, the layout's own check
among it. ``check``: the tables walked back. ``file``: the same layout read from TOML, which Python's ``tomllib`` does.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import machine
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building.proof import prove

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.editing import Built

ROUNDS: Final = 5
K, M, G, T = (1 << 10 * power for power in (1, 2, 3, 4))
UPPER: Final = 0xFFFF_8000_0000_0000
BASE: Final = 1 << 36


def firmware() -> dict[str, Any]:
    """A few regions, mapped to themselves, in a 32-bit format."""
    parts = [("flash", 0, 16 * M), ("ram", 64 * M, 256 * M), ("uart", 0xFEE0_0000, 4 * K)]
    regions = [Region(name, vaddr, size, "rwx-", largest=4 * K) for name, vaddr, size in parts]
    return {"format": "ia32", "base": 512 * M, "regions": regions}


def kernel() -> dict[str, Any]:
    """A kernel: its image in 2 MiB pages, all of 64 GiB of memory, and a hundred stacks with guards."""
    image = 0xFFFF_FFFF_8100_0000
    regions = [
        Region("text", image, 16 * M, "r-x-", paddr=16 * M),
        Region("rodata", image + 16 * M, 8 * M, "r---", paddr=32 * M),
        Region("data", image + 24 * M, 32 * M, "rw--", paddr=40 * M),
        Region("all memory", UPPER, 64 * G, "rw--", paddr=0, largest=2 * M),
    ]
    for at in range(100):
        stack = UPPER + T + at * 20 * K
        regions.append(Region(f"stack {at}", stack, 16 * K, "rw--", paddr=G + at * 16 * K))
        regions.append(Region(f"guard {at}", stack + 16 * K, 4 * K, "----"))
    return {"format": "x86-64", "base": BASE, "regions": regions}


def small_pages() -> dict[str, Any]:
    """32 GiB in pages of 4 KiB: 8,388,608 entries."""
    return {"format": "x86-64", "base": BASE, "regions": [Region("all", 0, 32 * G, "rw-u", largest=4 * K)]}


def full(name: str, largest: int) -> Callable[[], dict[str, Any]]:
    """All of physical memory, mapped to itself."""

    def made() -> dict[str, Any]:
        return {"format": name, "base": BASE, "regions": [Region("all", 0, 1 << 52, "rw--", largest=largest)]}

    made.__doc__ = f"All 52 bits of physical memory in pages of {largest // G} GiB."
    return made


def many(name: str, upper: int, page: int) -> Callable[[], dict[str, Any]]:
    """100,000 regions."""

    def made() -> dict[str, Any]:
        rights = ("r-xu", "rw-u", "r--u")
        regions = [
            Region(f"{at}", upper + at * 3 * page, 2 * page, rights[at % 3], paddr=at * 2 * page)
            for at in range(100_000)
        ]
        return {"format": name, "base": BASE, "regions": regions}

    made.__doc__ = f"100,000 regions of two pages of {page // K} KiB each, with a page between."
    return made


def processes() -> dict[str, Any]:
    """500 roots that share a kernel, with 20 regions of their own each."""
    regions = [Region("kernel", UPPER, 4 * G, "rwx-", paddr=0, largest=2 * M)]
    for root in range(500):
        regions += [
            Region(f"{root} {at}", at << 28, 64 * K, "rw-u", paddr=(root * 20 + at) * 64 * K, root=f"{root}")
            for at in range(20)
        ]
    return {"format": "x86-64", "base": BASE, "regions": regions}


def contiguous() -> dict[str, Any]:
    """A user's 8 GiB in contiguous groups of 64 KiB, with 39-bit addresses."""
    return {
        "format": "arm64-4k",
        "bits": 39,
        "base": BASE,
        "regions": [Region("heap", 0, 8 * G, "rw-u", largest=64 * K)],
    }


LAYOUTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "firmware, ia32": firmware,
    "kernel, x86-64": kernel,
    "4 KiB pages, x86-64": small_pages,
    "52 bits, x86-64-la57": full("x86-64-la57", G),
    "52 bits, arm64-4k-lpa2": full("arm64-4k-lpa2", G),
    "contiguous, arm64-4k": contiguous,
    "500 roots, x86-64": processes,
    "100,000 regions, x86-64": many("x86-64", 0, 4 * K),
    "100,000 regions, riscv-sv57": many("riscv-sv57", 0, 4 * K),
    "100,000 regions, arm64-64k": many("arm64-64k", 0, 64 * K),
}


def best(job: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """CPU seconds of the best round, and what the job gave."""
    least, answer = float("inf"), None
    for _ in range(rounds):
        start = time.process_time()
        answer = job()
        least = min(least, time.process_time() - start)
    return least, answer


def _built(said: dict[str, Any]) -> Built:
    return build(Layout(**said))


def main() -> None:
    """Build each, and say how long it takes."""
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, load {about['load']}\n")
    print(f"{'':30}{'regions':>9}{'tables':>9}{'MiB':>7}{'build s':>9}{'check s':>9}{'file s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in LAYOUTS.items():
            said = arguments()
            took, built = best(partial(_built, said))
            checked, _ = best(partial(prove, built), 2)
            path = Path(folder) / "layout.toml"
            path.write_text(built.layout.text())
            read, _ = best(partial(Layout.read, path), 1)
            tables = sum(built.counts.values())
            figures = (
                f"{len(said['regions']):>9,}{tables:>9,}{built.size / M:>7.1f}{took:>9.3f}{checked:>9.3f}{read:>9.3f}"
            )
            print(f"{name:30}{figures}", flush=True)


if __name__ == "__main__":
    main()
