"""Every format, in every window, on tables that may be hostile: walk, sweep and the manual's walker say the same."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk.formats import FORMATS, Kind, PagingFormat, find_format
from pagewalk.formats.hardware.arm64 import window_of
from pagewalk.testing.agreement import check_against, check_meaning
from pagewalk.testing.definition import real_levels
from pagewalk.testing.drawn import draw_tables
from tests.formats.golden_files import golden
from tests.reference.families import FAMILIES

if TYPE_CHECKING:
    from random import Random

ENGINES = ["numpy", *(["numba"] if importlib.util.find_spec("numba") else [])]


@st.composite
def windows(draw: st.DrawFn, name: str) -> PagingFormat:
    """A format; of arm64, with windows as wide as registers may say, each as it likes (D8.2.4: TxSZ up to 39)."""
    form = find_format(name)
    if not name.startswith("arm64") or draw(st.booleans()):
        return form
    low, high = (draw(st.integers(25, form.physical_bits)) for _ in range(2))
    two = window_of(form.hardware, 0, low), window_of(form.hardware, (1 << 64) - (1 << high), high)
    return replace(form, windows=two)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FORMATS)
class TestTables:
    """Intel SDM vol. 3A, 5.5; Arm ARM D8.2 and D8.3; RISC-V privileged, "Virtual Address Translation Process"."""

    @given(data=st.data(), rng=st.randoms(use_true_random=False), hostile=st.booleans())
    def test_walk_sweep_and_reference_agree(
        self, name: str, engine: str, data: st.DataObject, rng: Random, hostile: bool
    ) -> None:
        drawn = draw_tables(data.draw(windows(name)), rng, hostile=hostile, golden=golden(name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PAGEWALK_ENGINE", engine)
            check_against(drawn, FAMILIES[name], rng)


@pytest.mark.parametrize("name", FORMATS)
class TestEntries:
    """Whatever a word holds, reserved encodings included, the format and the manual take it for the same."""

    @given(data=st.data())
    def test_meaning(self, name: str, data: st.DataObject) -> None:
        form = find_format(name)
        level = data.draw(st.sampled_from(real_levels(form)))
        near = st.sampled_from([one.entry for one in golden(name)])
        flipped = st.builds(lambda entry, at: entry ^ 1 << at, near, st.integers(0, 8 * form.word.size - 1))
        check_meaning(form, level, data.draw(st.one_of(st.integers(0, form.word.mask), flipped)), FAMILIES[name])

    @given(rng=st.randoms(use_true_random=False))
    def test_tables_that_are_not_hostile_have_nothing_reserved(self, name: str, rng: Random) -> None:
        drawn = draw_tables(find_format(name), rng, hostile=False)
        for table, level in drawn.made.items():
            for entry in set(level.word.unpack(drawn.memory.read(table, level.table_bytes))):
                kind = level.kind(entry)
                assert kind != Kind.RESERVED
                assert kind not in (Kind.PRESENT, Kind.TABLE) or not level.wrong(entry)
