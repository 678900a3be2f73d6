"""What kernels in guests are asked, by themes: written scenarios, and random ones that have to do with them."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING

from pagewalk.abi.pagemap import PageIs
from pagewalk.conform.scenarios import ClearRefs, PagemapScan, PkeyAlloc, PkeyMprotect, Scenario
from pagewalk.conform.scenarios.generate import generate
from tests.conformance.written import WRITTEN, dirty, execute_only, gigantic, poison, soft_dirty, used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pagewalk.conform.scenarios import Step

__all__ = ["THEMES"]

SEEDS = 40
"""So many random scenarios are asked."""


def _keys() -> dict[str, Scenario]:
    """What a CPU with protection keys answers otherwise."""
    scenarios = {f"execute only: {title}": scenario for title, scenario in execute_only.SCENARIOS.items()}
    scenarios |= {title: scenario for title, scenario in WRITTEN.items() if title.startswith(("kernel access", "keys"))}
    scenarios |= {f"seed {seed}": scenario for seed, scenario in islice(_drawn(set()), SEEDS)}
    with_keys = islice(_drawn({PkeyAlloc, PkeyMprotect}), SEEDS)
    return scenarios | {f"seed {seed} with keys": scenario for seed, scenario in with_keys}


def _drawn(kinds: set[type[Step]]) -> Iterator[tuple[int, Scenario]]:
    """Random scenarios that have steps of some kinds, and no PAGEMAP_SCAN: what that tells differs by version."""
    for seed in count():
        scenario = generate(seed)
        drawn = {type(step) for step in scenario.steps}
        if kinds <= drawn and PagemapScan not in drawn:
            yield seed, scenario


def _soft_dirty() -> dict[str, Scenario]:
    """What a kernel answers that says what is soft-dirty."""
    return soft_dirty.SCENARIOS | {f"seed {seed}": scenario for seed, scenario in islice(_cleared(), SEEDS)}


def _cleared() -> Iterator[tuple[int, Scenario]]:
    """Random scenarios with ``ClearRefs``, whose scans do not depend on what is WRITTEN: that differs by version."""
    for seed in count():
        scenario = generate(seed, soft_dirty=True)
        scans = [step for step in scenario.steps if isinstance(step, PagemapScan)]
        if not any(scan.flags or (scan.mask | scan.anyof | scan.returns) & PageIs.WRITTEN for scan in scans):
            yield seed, scenario


def _used() -> dict[str, Scenario]:
    """What a kernel answers that sorts pages by generations."""
    forgotten = islice(_drawn({ClearRefs}), SEEDS)
    return used.SCENARIOS | {f"seed {seed}": scenario for seed, scenario in forgotten}


THEMES: dict[str, Callable[[], Mapping[str, Scenario]]] = {
    "keys": _keys,
    "dirty": lambda: dirty.SCENARIOS,
    "gigantic": lambda: gigantic.SCENARIOS,
    "poison": lambda: poison.SCENARIOS,
    "soft-dirty": _soft_dirty,
    "used": _used,
}
"""What can be asked, by name."""
