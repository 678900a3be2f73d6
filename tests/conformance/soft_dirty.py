"""What is recorded of soft-dirty pages: ``python -m tests.conformance.soft_dirty FILE`` asks the running kernel.

Random scenarios with ``ClearRefs`` are among it, and smaps, whose VmFlags tell which VMAs are soft-dirty.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.abi.pagemap import PageIs
from pagewalk.conform.scenarios import PagemapScan, Scenario
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides.facts import free_hugetlb, running_facts
from pagewalk.conform.sides.kernel import Kernel
from tests.conformance.recorded import write_answers
from tests.conformance.written import soft_dirty

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = 39
"""So many random scenarios are asked."""


def to_ask() -> dict[str, Scenario]:
    """All that is recorded, by title."""
    drawn = {f"seed {seed}": scenario for seed, scenario in islice(_drawn(), SEEDS)}
    return soft_dirty.SCENARIOS | drawn


def _drawn() -> Iterator[tuple[int, Scenario]]:
    """Random scenarios whose scans do not depend on what is WRITTEN: that differs by version."""
    for seed in count():
        scenario = generate(seed, soft_dirty=True)
        scans = [step for step in scenario.steps if isinstance(step, PagemapScan)]
        if not any(scan.flags or (scan.mask | scan.anyof | scan.returns) & PageIs.WRITTEN for scan in scans):
            yield seed, scenario


def main() -> None:
    with Kernel() as kernel:
        facts = replace(running_facts(), hugetlb=free_hugetlb(), swap=0)
        write_answers(Path(sys.argv[-1]), kernel, facts, to_ask())


if __name__ == "__main__":
    main()
