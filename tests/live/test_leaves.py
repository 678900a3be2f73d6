"""Leaves found at once are those that a page at a time would give."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk.formats import capture_format
from pagewalk.live import PageIs
from pagewalk.live.encode import Pages, encode, vma_rights
from pagewalk.live.leaves import find_leaves
from pagewalk.live.reading import SPAN, Reading
from pagewalk.live.scan import REGION
from pagewalk.space import Mapping, Vma, VmaFlags

PAGE, COUNT = 4096, 512
HUGE = COUNT * PAGE
BASE = 1 << 30
PRESENT, SWAP, FILE, GUARD, WP, ALONE = (1 << bit for bit in (63, 62, 61, 58, 57, 56))
R, W, X, SHARED = VmaFlags.READ, VmaFlags.WRITE, VmaFlags.EXEC, VmaFlags.SHARED | VmaFlags.MAYSHARE
FORM = capture_format(0)
FRAME = (1 << 55) - 1

WORDS = st.sampled_from(
    [
        *(
            0,
            0,
            1 << 55,
            PRESENT | 7,
            PRESENT | ALONE | 7,
            PRESENT | FILE | 9,
            PRESENT | FILE | ALONE | 9,
            PRESENT | 1 << 40,
        ),
        *(
            PRESENT | WP | ALONE | 3,
            SWAP | 5 << 5 | 1,
            SWAP | GUARD | 4 << 5 | 31,
            SWAP | 2 << 5 | 31,
            SWAP | WP | 1 << 5 | 31,
        ),
    ]
)
FLAGS = st.sampled_from([VmaFlags(0), R, R | W, R | X, W, R | W | SHARED, R | SHARED])
BLOCKS = st.sampled_from(["there", "swapped", "split", "hole", "zero", "file", "moved"])


def block(draw):
    """The words of a huge page's place, and what PAGEMAP_SCAN called it."""
    kind = draw(BLOCKS)
    frames = np.arange(COUNT, dtype=np.uint64) + np.uint64(draw(st.integers(1, 9)) * COUNT)
    frames += np.uint64(kind == "moved")  # no frame of a huge page begins there
    words = frames | np.uint64(PRESENT | (FILE if kind == "file" else 0))
    if kind == "swapped":
        words = (frames << np.uint64(5)) | np.uint64(SWAP)
    if kind in ("split", "hole"):
        words[draw(st.integers(0, COUNT - 1))] = SWAP | GUARD | 4 << 5 | 31 if kind == "split" else 0
    if kind == "zero":
        words |= np.uint64(FILE | ALONE)
    words |= np.uint64(ALONE) * (np.arange(COUNT) == 5)  # a bit that each part may have for itself
    return words, int(PageIs.HUGE | (PageIs.PFNZERO if kind == "zero" else 0))


@st.composite
def readings(draw):
    """VMAs with small and huge pages, some words outside of all, and the regions that are special."""
    vmas, spans, words, special, at = [], [], [], [], BASE
    for _ in range(draw(st.integers(0, 4))):
        gap = draw(st.integers(0, 3)) * PAGE
        huge = draw(st.booleans())
        at += gap if not huge else -at % HUGE
        parts = [block(draw) for _ in range(draw(st.integers(1, 2)))] if huge else []
        some = (
            np.concatenate([part for part, _ in parts])
            if huge
            else np.array(draw(st.lists(WORDS, min_size=1, max_size=9)), np.uint64)
        )
        size = len(some) * PAGE
        name, mapping = draw(st.sampled_from([("", None), ("[vdso]", None), ("/file", Mapping("/file"))]))
        if not draw(st.integers(0, 5)):
            size, some = size + PAGE, np.append(some, np.uint64(PRESENT | 3))  # mapped meanwhile
            vmas.append(Vma(at, at + size - PAGE, draw(FLAGS), 0, mapping, name))
        else:
            vmas.append(Vma(at, at + size, draw(FLAGS), 0, mapping, name))
        spans.append((at, at + size))
        words.append(some)
        special += [(at + nth * HUGE, at + (nth + 1) * HUGE, what) for nth, (_, what) in enumerate(parts)]
        if not huge and draw(st.booleans()):
            special.append((at, at + PAGE, int(PageIs.PFNZERO)))
        at += size
    pages = np.concatenate(words) if words else np.empty(0, np.uint64)
    return Reading(vmas, [], np.array(spans, SPAN), pages, np.array(special, REGION))


def encoded(pages, known):
    """``{(depth, vaddr): entry}`` of pages given as ``(depth, vaddr, word, vma, zero)``."""
    found = {}
    for depth in (3, 4):
        mine = [page for page in pages if page[0] == depth]
        words = np.array([word for _, _, word, _, _ in mine], np.uint64)
        rights = np.array([vma_rights(vma.flags) for *_, vma, _ in mine], np.uint64)
        private = np.array([not vma.flags & SHARED for *_, vma, _ in mine], np.bool_)
        zero = np.array([zero for *_, zero in mine], np.bool_)
        entries = encode(FORM.levels[depth], Pages(words, rights, private, zero), known=known)
        found |= {(depth, page[1]): entry for page, entry in zip(mine, entries.tolist(), strict=True)}
    return found


def merged(words):
    """The word of a huge page's parts; None if they do not belong together."""
    step = 1 << 5 if words[0] >> 62 & 1 else 1
    alike = all(word | ALONE == (words[0] | ALONE) + nth * step for nth, word in enumerate(words))
    aligned = not words[0] & PRESENT or words[0] % COUNT == 0
    return (words[0] & ~ALONE) | (ALONE if all(word & ALONE for word in words) else 0) if alike and aligned else None


def by_hand(reading):
    """``{(depth, vaddr): entry}``, a page at a time."""
    words, starts = {}, reading.spans["start"].tolist()
    at = 0
    for start, end in zip(starts, reading.spans["end"].tolist(), strict=True):
        for vaddr in range(start, end, PAGE):
            words[vaddr] = int(reading.pages[at])
            at += 1
    there = [word for word in words.values() if word >> 62]
    known = not there or bool(there[0] & FRAME)
    found = []
    for vma in reading.vmas:
        mine = {vaddr: words[vaddr] for vaddr in range(vma.start, vma.end, PAGE) if words.get(vaddr, 0) >> 62}
        for start, end, what in reading.special.tolist():
            block = [mine.get(vaddr, 0) for vaddr in range(start, end, PAGE)]
            zero = bool(what & PageIs.PFNZERO)
            if what & PageIs.HUGE and all(block) and (word := merged(block)) is not None:
                found.append((3, start, word, vma, zero))
                mine = {vaddr: word for vaddr, word in mine.items() if not start <= vaddr < end}
            elif zero and start in mine:
                for vaddr in [vaddr for vaddr in mine if start <= vaddr < end]:
                    word = mine.pop(vaddr)
                    is_zero = bool(what & PageIs.HUGE) or not word & (FILE | ALONE)
                    found.append((4, vaddr, word, vma, is_zero))
        found += [(4, vaddr, word, vma, False) for vaddr, word in mine.items()]
    return encoded(found, known)


@settings(deadline=None, max_examples=60)
@given(readings())
def test_as_a_page_at_a_time(reading):
    found = find_leaves(FORM, reading)
    got = {
        (depth, vaddr): entry
        for depth, parts in found.leaves.items()
        for part in parts
        for vaddr, entry in zip(part.vaddrs.tolist(), part.entries.tolist(), strict=True)
    }
    assert got == by_hand(reading)
    for parts in found.leaves.values():
        vaddrs = np.concatenate([part.vaddrs for part in parts])
        assert (vaddrs[1:] > vaddrs[:-1]).all()


def test_a_page_of_1_gib():
    """The pages of one entry are never looked at in two pieces."""
    start, count = 3 << 30, COUNT * COUNT
    pages = np.arange(count, dtype=np.uint64) + np.uint64(PRESENT | 5 * count)
    vma = Vma(start, start + (1 << 30), R | W | VmaFlags.HUGETLB, huge_page_size=1 << 30)
    rows = np.array([(start, start + (1 << 30), int(PageIs.HUGE))], REGION)
    found = find_leaves(FORM, Reading([vma], [], np.array([(start, start + (1 << 30))], SPAN), pages, rows))
    (leaf,) = found.leaves[2]
    assert leaf.vaddrs.tolist() == [start]
    assert FORM.levels[2].frame(int(leaf.entries[0])) == 5 << 30
    assert sum(len(part.vaddrs) for part in found.leaves[4]) == 0
