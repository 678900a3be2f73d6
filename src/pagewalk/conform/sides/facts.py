"""What of a machine the answers depend on: probed where it runs, and told where they were recorded."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SOFT_DIRTY, PageIs
from pagewalk.conform.scenarios import At, Madvise, Mmap, Mprotect, Scenario, Write
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.plan import HUGE
from pagewalk.conform.sides.observe import has
from pagewalk.conform.sides.swap import is_own
from pagewalk.errors import ProcessError, UnsupportedError
from pagewalk.formats.running import running_format

if TYPE_CHECKING:
    from pagewalk.conform.sides.observe import View
    from pagewalk.mm.hardware.machine import Policy, ShmemPolicy

__all__ = ["GIGANTIC", "HUGETLB", "Facts", "cpu_flags", "free_hugetlb", "require_settings", "running_facts"]

HUGETLB = 2 << 20
"""The size of the hugetlb pages that random scenarios use."""
GIGANTIC = 1 << 30
"""The size of those of another pool, which few machines have."""
_POOLS = Path("/sys/kernel/mm/hugepages")
_MOST = 32
"""Pages of a pool at most: more than fit into an arena."""
_CPU = Path("/proc/cpuinfo")
_ATTEMPTS = 3
"""At getting a huge page."""
_BLOCK = At(HUGE), HUGE * PAGE
_WRITTEN = (
    Mmap(_BLOCK[1], abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, _BLOCK[0]),
    Madvise(*_BLOCK, abi.MADV_HUGEPAGE),
    Write(At(HUGE), b"x"),
)
_LAZY = Scenario(
    (*_WRITTEN, Madvise(*_BLOCK, abi.MADV_FREE), Write(At(HUGE), b"y"), Madvise(*_BLOCK, abi.MADV_PAGEOUT))
)
_READ_ONLY = Scenario((*_WRITTEN, Mprotect(*_BLOCK, abi.PROT_READ)))
_SWAPS = Path("/proc/swaps")
_PAGEMAP = Path("/proc/self/pagemap")
_OWN_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_GENERATIONS = Path("/sys/kernel/mm/lru_gen/enabled")
_THP = Path("/sys/kernel/mm/transparent_hugepage")
_SETTINGS: dict[str, set[str]] = {"hugepages-2048kB/shmem_enabled": {"inherit"}, "use_zero_page": {"1"}}
"""Of transparent huge pages, besides those of other sizes."""


@dataclass(frozen=True)
class Facts:
    """A machine, as far as a scenario can tell it from others.

    Attributes:
        pku: Whether the CPU has protection keys and the kernel uses them.
        format: The paging format's name.
        thp: When anonymous memory gets huge pages by itself.
        hugetlb: Pages of the 2 MiB pool that may be had; None: as the running kernel has then.
        reclaims_whole: Whether reclaim takes or keeps a lazily free huge page as a whole, see ``Machine``.
        swap: Bytes of it; None: a campaign's file, if that is switched on then.
        shmem_thp: When shared memory gets huge pages by itself.
        gigantic: Pages of the 1 GiB pool that may be had.
        soft_dirty: Whether the kernel says what is soft-dirty (CONFIG_MEM_SOFT_DIRTY).
        keeps_dirty: Whether a huge page stays dirty when its rights are changed, see ``Machine``.
        lru_gen: Whether the kernel sorts pages by generations, see ``Machine``.
    """

    pku: bool = False
    format: str = running_format()
    thp: Policy = "madvise"
    hugetlb: int | None = 0
    reclaims_whole: bool = True
    swap: int | None = 0
    shmem_thp: ShmemPolicy = "never"
    gigantic: int = 0
    soft_dirty: bool = False
    keeps_dirty: bool = True
    lru_gen: bool = False


def running_facts() -> Facts:
    """Those of this machine.

    Raises:
        UnsupportedError: It is set up for what the model does not have.
    """
    require_settings()
    flags = cpu_flags()
    shmem_thp = cast("ShmemPolicy", _chosen(_THP / "shmem_enabled") or "never")
    format_ = running_format(flags)
    return Facts(
        pku="ospke" in flags,
        format=format_,
        thp=_running_policy(),
        hugetlb=None,
        reclaims_whole=_reclaims_whole(),
        swap=None,
        shmem_thp=shmem_thp,
        soft_dirty=_tells_soft_dirty(),
        keeps_dirty=_keeps_dirty(),
        lru_gen=_sorts_by_generations(),
    )


def cpu_flags() -> frozenset[str]:
    """What ``/proc/cpuinfo`` says the first CPU has, and the kernel uses; empty where there is none."""
    try:
        lines = _CPU.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def free_hugetlb(size: int = HUGETLB) -> int:
    """How many pages of a pool a scenario can have: the free ones, less those that are promised to others.

    A kernel may leak promises for good (6.18: ``mremap`` of one page out of a private mapping of two), so a pool can
    have fewer than it shows as free.
    """
    try:
        pool = _POOLS / f"hugepages-{size >> 10}kB"
        free, promised = (int((pool / name).read_text()) for name in ("free_hugepages", "resv_hugepages"))
    except OSError:
        return 0
    return max(min(free - promised, _MOST), 0)


def _sorts_by_generations() -> bool:
    """Whether the running kernel's multi-generational LRU is on (lru_gen/enabled, 6.1)."""
    try:
        return bool(int(_GENERATIONS.read_text(), 16) & 1)
    except OSError:
        return False


def _running_policy() -> Policy:
    """When the running kernel gives anonymous memory pages of 2 MiB; never, where it cannot."""
    overall, own = _chosen(_THP / "enabled"), _chosen(_THP / "hugepages-2048kB/enabled")
    return cast("Policy", (overall if own in ("", "inherit") else own) or "never")


def _chosen(path: Path) -> str:
    """What a file like ``always [madvise] never`` has chosen, or the one word in it; empty where there is none."""
    try:
        text = path.read_text()
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0] or text.strip()


def require_settings() -> None:
    """Refuse a machine that is set up for what the model does not have.

    Raises:
        UnsupportedError: So it is; the message says how to change that.
    """
    if _swap_is_on():
        raise UnsupportedError(
            "swap is on, which is not a campaign's own: swapoff -a, or run this where memory.swap.max is 0"
        )
    accepted_by_path = dict(_SETTINGS)
    for name in ("enabled", "shmem_enabled"):
        inherited = {"inherit"} if _chosen(_THP / name) == "never" else set()
        sizes = [path.relative_to(_THP).as_posix() for path in _THP.glob(f"hugepages-*kB/{name}")]
        accepted_by_path |= {path: {"never"} | inherited for path in sizes if "-2048kB/" not in path}
    for path, accepted in accepted_by_path.items():
        found = _chosen(_THP / path)
        if found and found not in accepted:
            best = sorted(accepted)[-1]
            raise UnsupportedError(f"{_THP / path} is {found}, which the model does not have: write {best} there")


def _swap_is_on() -> bool:
    """Whether pages of this process can be swapped out."""
    try:
        if all(is_own(line) for line in _SWAPS.read_text().splitlines()[1:]):
            return False
        group = _OWN_GROUP.read_text().partition("0::/")[2].partition("\n")[0]
    except OSError:
        return False
    folders = [_GROUPS / group, *(_GROUPS / group).parents]
    return not any(_chosen(folder / "memory.swap.max") == "0" for folder in folders)


def _reclaims_whole() -> bool:
    """Ask the running kernel: one that keeps such a page whole, when it was written again, leaves it huge."""
    after = _last_view(_LAZY)
    return after is None or has(int(after.states[HUGE]), PageIs.HUGE)


def _keeps_dirty() -> bool:
    """Ask the running kernel: what was written, and may only be read then, is dirty all the same."""
    after = _last_view(_READ_ONLY)
    return after is None or any("Private_Dirty" in line for line in after.smaps or ())


@cache
def _last_view(scenario: Scenario) -> View | None:
    """What the running kernel shows after the last step, if it had a huge page before that, and can be asked."""
    from pagewalk.conform.sides.kernel import Kernel

    try:
        with Kernel() as kernel:
            for _ in range(_ATTEMPTS):
                with closing(kernel.run(scenario)) as run:
                    *_, before, after = (record.views[0][""] for record in run.records())
                if has(int(before.states[HUGE]), PageIs.HUGE):
                    return after
    except (UnsupportedError, ProcessError):
        pass
    return None


@cache
def _tells_soft_dirty() -> bool:
    """Ask the running kernel: memory that is new is soft-dirty."""
    memory = mmap.mmap(-1, PAGE)
    vaddr = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    try:
        with _PAGEMAP.open("rb", buffering=0) as pagemap:
            pagemap.seek(vaddr // PAGE * 8)
            return bool(int.from_bytes(pagemap.read(8), "little") & PM_SOFT_DIRTY)
    except OSError:
        return False
