"""``laid_out``: what of a file is which memory, against an oracle that goes byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk.errors import ImageFormatError
from pagewalk.memory.files.layout import MOST, Claim, Layout, Ranges, laid_out

LENGTH = 64
CLAIMS = st.lists(
    st.builds(Claim, st.integers(0, 96), st.integers(0, 80), st.integers(0, 40), st.integers(0, 48)), max_size=12
)


def bytewise(claims: list[Claim]) -> dict[int, int | str]:
    """Each address: its place in the file, or why it has none. The first claim that has it there counts."""
    found: dict[int, int | str] = {}
    for paddr, offset, stored, size in claims:
        for at in range(max(stored, size)):
            place = offset + at
            why = place if at < stored and place < LENGTH else "cut off" if at < stored else "left out"
            old = found.get(paddr + at)
            if old is None or (isinstance(old, str) and (isinstance(why, int) or why == "cut off")):
                found[paddr + at] = why
    return found


def listed(layout: Layout) -> dict[int, int | str]:
    found: dict[int, int | str] = {}
    for start, offset, size in layout.parts:
        found |= {start + at: offset + at for at in range(size)}
    for ranges, why in ((layout.left_out, "left out"), (layout.cut_off, "cut off")):
        for start, end in ranges.ranges:
            assert not set(range(start, end)) & set(found)
            found |= dict.fromkeys(range(start, end), why)
    return found


@given(CLAIMS)
def test_each_byte(claims: list[Claim]) -> None:
    layout = laid_out(claims, LENGTH)
    assert listed(layout) == bytewise(claims)
    for low, high in zip(layout.parts, layout.parts[1:], strict=False):
        assert low[0] + low[2] <= high[0]
        assert low[0] + low[2] < high[0] or low[1] + low[2] != high[1], "what goes on is one part"


@given(CLAIMS, st.integers(0, 120), st.integers(1, 40))
def test_ranges(claims: list[Claim], start: int, size: int) -> None:
    layout = laid_out(claims, LENGTH)
    inside = {address for address, why in bytewise(claims).items() if why == "left out"}
    assert layout.left_out.touches(start, start + size) == bool(inside & set(range(start, start + size)))
    assert layout.left_out.size == len(inside)


def test_the_first_wins_and_that_is_said() -> None:
    layout = laid_out([Claim(0, 0, 10, 10), Claim(4, 20, 10, 10)], LENGTH)
    assert layout.parts == [(0, 0, 10), (10, 26, 4)]
    assert layout.doubled.ranges == ((4, 10),)
    assert not laid_out([Claim(0, 0, 10, 10), Claim(4, 4, 10, 10)], LENGTH).doubled


def test_limits() -> None:
    with pytest.raises(ImageFormatError, match="end beyond 64 bits"):
        laid_out([Claim(1 << 63, 0, 1, 1 << 63 | 1)], LENGTH)
    with pytest.raises(ImageFormatError, match="more than 262,144"):
        laid_out([Claim(0, 0, 1, 1)] * (MOST + 1), LENGTH)
    assert not Ranges().touches(0, 1 << 64)
