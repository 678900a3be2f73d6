"""What a capture must agree with: the process's own PAGEMAP_SCAN, its pagemap read directly, smaps, and a walk.

Run as a script, it captures a process as the user it is told to be, with all checks: ``agree.py UID PID`` and the
child's answers on standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from pathlib import Path

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.live import capture, guard_ranges, summarize
from pagewalk.query import mappings
from pagewalk.query.areas import PARTS
from pagewalk.space import VmaFlags
from pagewalk.walk import Action, WalkOps, walk_page_range

PAGE = 4096
THERE = (Kind.PRESENT, Kind.PROT_NONE)
WRITTEN, FILE, PRESENT, SWAPPED, PFNZERO, HUGE, GUARD = (1 << bit for bit in (1, 2, 3, 4, 5, 6, 8))
MODELLED = WRITTEN | FILE | PRESENT | SWAPPED | PFNZERO | HUGE | GUARD


def has(rows, flag):
    return rows["flags"] & np.uint32(flag) != 0


def categories(space, start, end):
    """What PAGEMAP_SCAN should say of each page of a range; 0 for nothing."""
    rows = mappings(space, start, end, coalesce=False)
    there = np.isin(rows["kind"], THERE)
    each = np.where(there, PRESENT, SWAPPED)
    each |= np.where(has(rows, Flag.FILE), FILE, 0)
    each |= np.where(has(rows, Flag.SPECIAL), PFNZERO, 0)
    each |= np.where(rows["page_size"] > PAGE, HUGE, 0)
    each |= np.where(rows["kind"] == Kind.GUARD, GUARD, 0)
    marked = rows["kind"] == Kind.UFFD_WP
    if not space.frames_known:  # a marker cannot be told from swap; the flag is there all the same
        marked |= rows["kind"] == Kind.SWAP
    each |= np.where(has(rows, Flag.UFFD_WP) | marked, 0, WRITTEN)
    return spread(rows, each, start, end)


def spread(rows, values, start, end):
    """A value a page, 0 where no row is."""
    out = np.zeros((end - start) // PAGE, np.int64)
    counts = (rows["size"] // PAGE).astype(np.int64)
    first = ((rows["vaddr"] - np.uint64(start)) // PAGE).astype(np.int64)
    at = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    out[at] = np.repeat(values, counts)
    return out


def check_scan(space, areas, regions):
    """Every page of the child's areas is what the child's own scan says."""
    for name, (start, end) in areas.items():
        if end - start > 1 << 30:
            assert not len(mappings(space, start, end)), name
            continue
        said = np.zeros((end - start) // PAGE, np.int64)
        for low, high, what in regions:
            if start <= low < end:
                said[(low - start) // PAGE : (high - start) // PAGE] = what & MODELLED
        mine = categories(space, start, end)
        wrong = np.flatnonzero(said != mine)
        assert not len(wrong), f"{name}: page {wrong[0]} is {said[wrong[0]]:#x}, captured as {mine[wrong[0]]:#x}"


def migrations():
    """How many pages the kernel has moved to other frames: compaction does, when it likes."""
    fields = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(fields["pgmigrate_success"])


def check_still_pagemap(space, moved):
    """``check_pagemap``; of a new capture, where pages have moved since ``moved`` was what ``migrations`` said."""
    for _ in range(10):
        if migrations() == moved:
            break
        moved, space = migrations(), capture(space.pid)
    check_pagemap(space)


def check_pagemap(space):
    """Every page of every VMA has the state that pagemap, read directly, gives it."""
    fd = os.open(f"/proc/{space.pid}/pagemap", os.O_RDONLY)
    try:
        for vma in space.vmas:
            if VmaFlags.PFNMAP in vma.flags:
                continue
            words = np.empty(vma.size // PAGE, np.uint64)
            assert os.preadv(fd, [words.data.cast("B")], vma.start // PAGE * 8) == words.nbytes
            _check_vma(space, vma, words)
    finally:
        os.close(fd)


def _check_vma(space, vma, words):
    rows = mappings(space, vma.start, vma.end, coalesce=False)
    if not len(rows):
        assert not (words >> np.uint64(62)).any(), f"{vma!r}"
        return
    word_of = lambda bit: (words >> np.uint64(bit) & np.uint64(1)).astype(np.int64)  # noqa: E731
    kinds = spread(rows, rows["kind"].astype(np.int64), vma.start, vma.end)
    where = f"{vma!r}"
    assert np.array_equal(np.isin(kinds, THERE), word_of(63) == 1), where
    assert np.array_equal((kinds != 0) & ~np.isin(kinds, THERE), word_of(62) == 1), where
    assert np.array_equal(kinds == Kind.GUARD, word_of(58) == 1), where
    assert bool(np.isin(kinds, Kind.PROT_NONE).any()) <= (vma.rights[:3] == "---"), where
    for flag, bit in ((Flag.FILE, 61), (Flag.EXCLUSIVE, 56)):
        small = rows[~has(rows, Flag.SPECIAL)]  # the kernel calls the huge zero page a file's
        if flag is Flag.EXCLUSIVE:  # who else maps a library's pages changes at any time; a huge page has one bit
            small = small[~has(small, Flag.FILE) & (small["page_size"] == PAGE)]
        mine = spread(small, has(small, flag).astype(np.int64), vma.start, vma.end)
        covered = spread(small, np.ones(len(small), np.int64), vma.start, vma.end)
        assert np.array_equal(mine, word_of(bit) * covered), (where, flag)
    _check_frames(space, rows, words, vma)


def _check_frames(space, rows, words, vma):
    there = np.isin(rows["kind"], THERE)
    if not space.frames_known:
        assert np.all(rows["paddr"][there] == NO_PADDR)
        assert np.all(has(rows[there], Flag.NO_FRAME))
        return
    assert not has(rows, Flag.NO_FRAME).any()
    for row in rows[there & (rows["page_size"] > PAGE)]:
        at = (int(row["vaddr"]) - vma.start) // PAGE
        expected = int(row["paddr"]) // PAGE + np.arange(int(row["size"]) // PAGE)
        assert np.array_equal(words[at : at + len(expected)] & np.uint64((1 << 55) - 1), expected.astype(np.uint64))
    small = rows[there & (rows["page_size"] == PAGE)]
    at = ((small["vaddr"] - np.uint64(vma.start)) // PAGE).astype(np.int64)
    assert np.array_equal(words[at] & np.uint64((1 << 55) - 1), small["paddr"] // PAGE)


def smaps(pid):
    """``{start: {field: bytes, "VmFlags": codes}}``, read anew."""
    found, fields = {}, {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            fields = found[int(header[1], 16)] = {"end": int(header[2], 16)}
        else:
            key, _, value = line.partition(":")
            fields[key] = value.split() if key == "VmFlags" else int(value.split()[0]) << 10
    return {start: fields for start, fields in found.items() if start < 1 << 63}


def check_smaps(space):
    """VMAs, their flags and their totals are those of smaps."""
    truth, totals = smaps(space.pid), summarize(space)
    assert [(vma.start, vma.end) for vma in space.vmas] == [(start, each["end"]) for start, each in truth.items()]
    for vma, total in zip(space.vmas, totals, strict=True):
        says, where = truth[vma.start], f"{vma!r}"
        assert (VmaFlags.HUGETLB in vma.flags) == ("ht" in says["VmFlags"]), where
        assert (VmaFlags.LOCKED in vma.flags) == ("lo" in says["VmFlags"]), where
        assert (VmaFlags.WIPEONFORK in vma.flags) == ("wf" in says["VmFlags"]), where
        assert (VmaFlags.GROWSDOWN in vma.flags) == ("gd" in says["VmFlags"]), where
        assert (VmaFlags.PFNMAP in vma.flags) == ("pf" in says["VmFlags"]), where
        assert int(total["small"] + total["thp"] + total["prot_none"]) == says["Rss"], where
        assert int(total["hugetlb"]) == says["Shared_Hugetlb"] + says["Private_Hugetlb"], where
        assert int(total["anonymous"]) == says["Anonymous"] + int(total["hugetlb"]), where
        rows = mappings(space, vma.start, vma.end)
        huge = (rows["page_size"] > PAGE) & ~has(rows, Flag.FILE) & ~has(rows, Flag.SPECIAL)
        assert int(rows["size"][huge].sum()) - int(total["hugetlb"]) == says["AnonHugePages"], where
        assert bool(total["swap"]) >= bool(says["Swap"]), where
        parts = sum(int(total[name]) for name in PARTS)
        assert parts == vma.size, where


def check_walk(space, areas):
    """A walk meets the VMAs of the process, and the entries that pagemap showed; splitting changes no frame."""
    low, high = min(start for start, _ in areas.values()), max(end for _, end in areas.values())
    before = mappings(space, low, high, coalesce=False)
    seen, huge, small = [], [], []

    def test_walk(addr, next_, walk):
        seen.append((addr, next_))

    def pmd_entry(entry, addr, next_, walk):
        if entry.is_leaf:
            huge.append(addr)
            walk.action = Action.CONTINUE

    def pte_entry(entry, addr, next_, walk):
        if not entry.is_none:
            small.append(addr)

    def hugetlb_entry(entry, hmask, addr, next_, walk):
        if not entry.is_none:
            huge.append(addr)

    ops = WalkOps(test_walk=test_walk, pmd_entry=pmd_entry, pte_entry=pte_entry, hugetlb_entry=hugetlb_entry)
    assert walk_page_range(space, low, high, ops) == 0
    assert seen == [(vma.start, vma.end) for vma in space.vmas.overlapping(low, high)]
    assert huge == before["vaddr"][before["page_size"] > PAGE].tolist()
    assert small == before["vaddr"][before["page_size"] == PAGE].tolist()
    start, end = areas["thp"]
    whole = mappings(space, start, end)
    assert walk_page_range(space, start, end, WalkOps(pte_entry=lambda *_: 0)) == 0
    split = mappings(space, start, end)
    assert set(split["page_size"].tolist()) == {PAGE}
    assert split["size"].sum() == whole["size"].sum()


def check_areas(space, areas):
    """What the child made is named as such."""
    totals = {int(total["start"]): total for total in summarize(space)}
    names = next(iter(totals.values())).dtype.names[2:]
    of = {name: {part: int(totals[start][part]) for part in names} for name, (start, _) in areas.items()}
    huge = 1 << 21
    assert (of["guards"]["small"], of["guards"]["guard"]) == (11 * PAGE, 5 * PAGE)
    assert (of["holes"]["small"], of["holes"]["untouched"]) == (10 * PAGE, 54 * PAGE)
    assert (of["zero"]["zero"], of["zero"]["untouched"]) == (3 * PAGE, PAGE)
    assert (of["none"]["prot_none"], of["none"]["untouched"]) == (4 * PAGE, 2 * PAGE)
    assert of["reserved"]["untouched"] == 64 << 30
    assert (of["file_private"]["anonymous"], of["file_private"]["file"] > 0) == (2 * PAGE, True)
    assert of["file_shared"]["guard"] == 2 * PAGE
    assert (of["shared"]["file"], of["shared"]["small"]) == (3 * PAGE, 3 * PAGE)
    assert (of["thp"]["thp"], of["thp"]["guard"]) == (2 * huge, PAGE)
    assert of["thp_none"]["prot_none"] == huge
    assert of["thp_zero"]["zero"] == huge
    assert of["collapsed"]["thp"] == huge
    assert (of["forked"]["shared"], of["forked"]["exclusive"]) == (3 * PAGE, PAGE)
    if "hugetlb" in of:
        assert (of["hugetlb"]["hugetlb"], of["hugetlb"]["untouched"]) == (2 * huge, huge)
    assert [vma.start for _, _, vma in guard_ranges(space)].count(areas["guards"][0]) == 2
    check_rights(space, areas)


def check_rights(space, areas):
    """Rights are the VMA's, less writing where the page cannot be written."""
    for name, may_write in (("written", True), ("zero", False), ("write_only", True), ("shared", True)):
        rows = mappings(space, *areas[name])
        assert has(rows, Flag.WRITE).all() == has(rows, Flag.WRITE).any() == may_write, name
        assert has(rows, Flag.READ).all(), name
    rows = mappings(space, *areas["file_private"], coalesce=False)
    assert np.array_equal(has(rows, Flag.WRITE), ~has(rows, Flag.FILE))


def check_all(space, areas, regions):
    assert space.complete, space.changed
    check_scan(space, areas, regions)
    check_pagemap(space)
    check_smaps(space)
    check_areas(space, areas)
    check_walk(space, areas)


def main():
    user, pid = int(sys.argv[1]), int(sys.argv[2])
    areas, regions = json.loads(sys.stdin.readline()), json.loads(sys.stdin.readline())
    if user != os.getuid():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which setuid takes away: /proc/self needs it
    space = capture(pid)
    assert not space.frames_known
    assert any("CAP_SYS_ADMIN" in note for note in space.notes)
    check_all(space, areas, regions)
    print("agreed")


if __name__ == "__main__":
    main()
