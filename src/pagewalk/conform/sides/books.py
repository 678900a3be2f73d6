"""A simulated machine's books after a scenario: frames, tables, swap, pools and promises, counted a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.state.huge_files import HugeFile
from pagewalk.mm.state.space import Space

if TYPE_CHECKING:
    from pagewalk.mm.machine import Machine

__all__ = ["left_over", "wrong_books"]


def wrong_books(machine: Machine) -> str:
    """What of a machine's books is not what its page tables, areas and files say; empty if all is right.

    The machine counts itself anew for this, so that it is right afterwards.
    """
    kept = _books(machine)
    machine.recount()
    counted = _books(machine)
    wrong = [name for name, value in kept.items() if not np.array_equal(value, counted[name])]
    return "; ".join(f"{name}: {_differ(kept[name], counted[name])}" for name in wrong)


def _books(machine: Machine) -> dict[str, Any]:
    """All that follows from something else."""
    frames, swap = machine.frames, machine.swap
    return {
        "references to frames": frames.references.copy(),
        "what frames are used for": frames.usage.copy(),
        "free frames": np.array([frames.free]),
        "which frames are a folio": frames.recency.folios(frames.run(0, frames.size)),
        "pages of a folio": frames.recency.pages(frames.run(0, frames.size)),
        "users of swap slots": _rows({slot: swap.users(slot) for slot in range(1, swap.slots + 1) if swap.has(slot)}),
        "the swap cache": _rows(swap.cached),
        "tables set aside": np.array(sorted(len(mm.tables.deposits) for mm in machine.spaces if isinstance(mm, Space))),
        "free hugetlb pages": _rows({size: len(pages) for size, pages in machine.hugetlb.items()}),
        "promised hugetlb pages": _rows({size: machine.promised(size) for size in machine.pools}),
        "users of the huge zero page": np.array([machine.huge_zero_users]),
    }


def _rows(numbers: dict[int, int]) -> Any:
    return np.array(sorted(numbers.items())).reshape(-1, 2)


def _differ(kept: Any, counted: Any) -> str:
    """The first difference."""
    if kept.shape != counted.shape:
        return f"{kept.tolist()[:9]}, counted {counted.tolist()[:9]}"
    at = np.argwhere(kept != counted)[0]
    return f"{kept[tuple(at)]} of number {at[0]:#x}, counted {counted[tuple(at)]}"


def left_over(machine: Machine) -> str:
    """What is still in use though all processes have ended; files may keep their pages and what they were promised."""
    counts = {usage.name.lower(): machine.frames.count(usage) for usage in (Usage.ANON, Usage.TABLE)}
    files = [file for file in machine.files if isinstance(file, HugeFile) and file.alive]
    owed = sum(machine.promised(size) for size in machine.pools) - sum(len(file.promised) for file in files)
    counts["promised hugetlb pages"] = owed
    return ", ".join(f"{count} {name} left" for name, count in counts.items() if count)
