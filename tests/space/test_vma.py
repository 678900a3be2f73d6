"""VMAs and their list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.space import VmaList

PAGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=12)


def vma(first: int, last: int, **more: object) -> pw.Vma:
    return pw.Vma(first * 4096, last * 4096, **more)  # type: ignore[arg-type]


class TestVmaList:
    """Ordered, non-overlapping, found by bisection: against a plain scan."""

    @given(PAGES, st.integers(0, 70), st.integers(1, 9), st.data())
    def test_equals_a_scan(self, wanted: list[tuple[int, int]], at: int, size: int, data: st.DataObject) -> None:
        vmas, there = VmaList(), list[pw.Vma]()
        for first, count in wanted:
            new = vma(first, first + count)
            if any(old.start < new.end and new.start < old.end for old in there):
                with pytest.raises(ValueError, match="overlaps"):
                    vmas.add(new)
            else:
                vmas.add(new)
                there.append(new)
        if there:
            gone = data.draw(st.sampled_from(there))
            vmas.remove(gone)
            there.remove(gone)
        there.sort(key=lambda one: one.start)
        addr, end = at * 4096, (at + size) * 4096
        assert list(vmas) == there
        assert len(vmas) == len(there)
        assert vmas.find(addr) is next((one for one in there if one.end > addr), None)
        assert vmas.at(addr) is next((one for one in there if one.start <= addr < one.end), None)
        assert vmas.overlapping(addr, end) == [one for one in there if one.start < end and addr < one.end]

    def test_remove_what_is_not_there(self) -> None:
        with pytest.raises(ValueError, match="not in"):
            VmaList().remove(vma(0, 1))


class TestVma:
    @pytest.mark.parametrize(("start", "end"), [(0, 0), (4096, 0), (-4096, 4096), (1, 4096), (0, 4097)])
    def test_is_whole_pages(self, start: int, end: int) -> None:
        with pytest.raises(ValueError, match="whole pages"):
            pw.Vma(start, end)

    @pytest.mark.parametrize(
        ("flags", "rights"),
        [
            (pw.VmaFlags.READ | pw.VmaFlags.WRITE, "rw-p"),
            (pw.VmaFlags.READ | pw.VmaFlags.EXEC | pw.VmaFlags.SHARED, "r-xs"),
            (pw.VmaFlags(0), "---p"),
        ],
    )
    def test_rights_as_maps_shows_them(self, flags: pw.VmaFlags, rights: str) -> None:
        assert pw.Vma(0, 4096, flags).rights == rights

    def test_range_of_a_file(self) -> None:
        one = vma(16, 32, offset=4 * 4096)
        assert one.range_of(0, 1 << 20) == (one.start, one.end)
        assert one.range_of(6 * 4096, 8 * 4096) == (18 * 4096, 20 * 4096)


class TestMapping:
    def test_overlapping_by_first_page(self) -> None:
        file = pw.Mapping("data")
        second, first = vma(0, 4, offset=8 * 4096, mapping=file), vma(8, 16, offset=0, mapping=file)
        space = pw.AddressSpace(pw.PageTables(pw.Ram(4096), 0), [second, first])
        assert file.vmas == [first, second]
        assert list(file.overlapping(0, 8 * 4096)) == [first]
        assert list(file.overlapping(7 * 4096, 9 * 4096)) == [first, second]
        assert list(file.overlapping(12 * 4096, 13 * 4096)) == []
        space.remove_vma(first)
        assert file.vmas == [second]
        assert first.mm is None
        assert second.mm is space
