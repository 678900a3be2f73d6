"""What of a machine the answers depend on: probed where it runs, and told where they were recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pagewalk.mm.machine import Policy

__all__ = ["HUGETLB", "Facts", "cpu_flags", "free_hugetlb", "running_facts"]

HUGETLB = 2 << 20
"""The size of the only hugetlb pages that scenarios use."""
_POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
_MOST = 32
"""Pages of a pool at most: more than fit into an arena."""
_CPU = Path("/proc/cpuinfo")
_THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@dataclass(frozen=True)
class Facts:
    """A machine, as far as a scenario can tell it from others.

    Attributes:
        pku: Whether the CPU has protection keys and the kernel uses them.
        la57: Whether page tables have five levels, and addresses 57 bits.
        thp: When anonymous memory gets huge pages by itself.
        hugetlb: Pages of the 2 MiB pool that may be had; None: as the running kernel has then.
    """

    pku: bool = False
    la57: bool = False
    thp: Policy = "madvise"
    hugetlb: int | None = 0

    @property
    def format(self) -> str:
        """The paging format's name."""
        return "x86-64-la57" if self.la57 else "x86-64"


def running_facts() -> Facts:
    """Those of this machine."""
    flags = cpu_flags()
    return Facts("ospke" in flags, "la57" in flags, _running_policy(), None)


def cpu_flags() -> frozenset[str]:
    """What ``/proc/cpuinfo`` says the first CPU has, and the kernel uses; empty where there is none."""
    try:
        lines = _CPU.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def free_hugetlb() -> int:
    """How many pages of the pool a scenario can have: the free ones, less those that are promised to others.

    A kernel may leak promises for good (6.18: ``mremap`` of one page out of a private mapping of two), so a pool can
    have fewer than it shows as free.
    """
    try:
        free, promised = (int((_POOL / name).read_text()) for name in ("free_hugepages", "resv_hugepages"))
    except OSError:
        return 0
    return max(min(free - promised, _MOST), 0)


def _running_policy() -> Policy:
    """When the running kernel gives anonymous memory huge pages; never, where it cannot."""
    try:
        text = _THP.read_text()
    except OSError:
        return "never"
    return cast("Policy", text.partition("[")[2].partition("]")[0])
