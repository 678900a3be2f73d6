"""The running kernel: a process's page tables as they are, and what changes them.

``capture`` makes an ``AddressSpace`` of a live process; ``scan`` is PAGEMAP_SCAN; ``madvise`` and ``process_madvise``
take the advices that Python does not know; ``summarize`` adds up what each VMA really holds.
"""

from __future__ import annotations

from pagewalk.abi.pagemap import PageIs
from pagewalk.live.capture import Capture, capture
from pagewalk.live.madvise import madvise, process_madvise
from pagewalk.live.maps import parse_vmas
from pagewalk.live.procfs import read_pagemap
from pagewalk.live.scan import REGION, scan
from pagewalk.query import TOTALS, count_tables, guard_ranges, summarize

__all__ = [
    "REGION",
    "TOTALS",
    "Capture",
    "PageIs",
    "capture",
    "count_tables",
    "guard_ranges",
    "madvise",
    "parse_vmas",
    "process_madvise",
    "read_pagemap",
    "scan",
    "summarize",
]
