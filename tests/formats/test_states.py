"""States of entries that are kept: as many as there is room for, and the same whoever else learns some meanwhile."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pagewalk.formats import arrays as module
from pagewalk.formats import find_format
from pagewalk.formats.arrays import Arrays

NAMES = ("x86-64", "arm64-4k", "riscv-sv39")
GRANTED = range(1, 9)


def hostile(level, count: int = 1 << 14) -> np.ndarray:
    """Entries of any bits, none of them empty."""
    words = np.random.default_rng(7).integers(0, 1 << 63, count, np.uint64) * np.uint64(2) + np.uint64(1)
    return words[~level.is_none(words)]


def said(arrays: Arrays, entries: np.ndarray, granted: int) -> list[int]:
    return np.broadcast_to(np.asarray(arrays.states(entries, granted)), len(entries)).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_kept_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    level = find_format(name).last
    entries = hostile(level)
    expected = {granted: said(Arrays(level.codec), entries, granted) for granted in GRANTED}
    monkeypatch.setattr(module, "_MOST", 3)
    small = Arrays(level.codec)
    for granted in GRANTED:
        assert said(small, entries, granted) == expected[granted]
        for at in range(20):
            assert small.state(int(entries[at]), granted) == expected[granted][at]
    assert len(small._touched) <= 3
    assert len(small._one) <= 3
    assert not small.teach(entries, np.zeros(len(entries), np.intp))


@pytest.mark.parametrize("name", NAMES)
def test_threads_that_learn_at_once(name: str) -> None:
    """Each set of rights makes the table of states grow, which another thread is just reading."""
    level = find_format(name).last
    entries = hostile(level)
    expected = {granted: said(Arrays(level.codec), entries, granted) for granted in GRANTED}
    for _ in range(5):
        shared = Arrays(level.codec)
        found: dict[int, list[int]] = {}

        def work(granted: int, shared: Arrays = shared, found: dict[int, list[int]] = found) -> None:
            found[granted] = said(shared, entries, granted)

        threads = [threading.Thread(target=work, args=[granted]) for granted in GRANTED]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == expected
