"""What the MMU lets through: arrays, compiled or not, say what one address after another says."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.formats import FORMATS, find_format
from pagewalk.formats.access import ACCESSES
from pagewalk.formats.hardware import arm64_access, x86_access
from pagewalk.formats.hardware.arm64 import arm64
from pagewalk.formats.hardware.riscv import access_of, riscv
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.sweep import translation
from pagewalk.tables import judge
from pagewalk.testing.drawn import draw_tables

if TYPE_CHECKING:
    from pagewalk.formats import PagingFormat


def x86_of(rng: Random) -> PagingFormat:
    """x86-64 with control registers and keys by chance."""
    cr4 = rng.getrandbits(5) << 20
    values = {"cr0": rng.getrandbits(1) << 16, "cr4": cr4, "pkru": rng.getrandbits(32), "pkrs": rng.getrandbits(32)}
    return x86_64(rng.choice((4, 5)), no_execute=rng.random() < 0.8, access=x86_access.access_of(values))


def arm64_of(rng: Random) -> PagingFormat:
    """arm64 likewise."""
    sctlr = 1 | rng.getrandbits(1) << 19 | rng.getrandbits(1) << 57
    values = {"sctlr_el1": sctlr, "pstate": rng.getrandbits(1) << 22, "tcr_el1": rng.getrandbits(1) << 39}
    access, hierarchical, dirty = arm64_access.access_of(values), rng.random() < 0.8, rng.random() < 0.5
    return arm64(rng.choice((12, 14, 16)), 39, hierarchical=hierarchical, hardware_dirty=dirty, access=access)


def riscv_of(rng: Random) -> PagingFormat:
    """RISC-V likewise."""
    values = {"sstatus": rng.getrandbits(2) << 18, "menvcfg": rng.getrandbits(1) << 61}
    return riscv(rng.choice((3, 4, 5)), access=access_of(values))


def allowed(tables: pw.PageTables, vaddr: int, access: str) -> int | None:
    """Where an access to one address goes; None: it is refused."""
    page = tables.translate(vaddr, hardware=True)
    entries = list(tables.steps(vaddr))
    return page.paddr if judge(entries, access, tables.window_of(vaddr)).allowed else None


def agree(form: PagingFormat, rng: Random) -> None:
    drawn = draw_tables(form, rng)
    tables = drawn.tables
    some = [at | rng.getrandbits(12) for at in drawn.places for _ in range(40)]
    vaddrs = np.array(some, np.uint64)
    for access in ACCESSES:
        paddrs, mask = pw.translate(tables, vaddrs, access=access)
        wanted = {}
        for vaddr in some:
            try:
                wanted[vaddr] = allowed(tables, vaddr, access)
            except pw.NotPresent:
                wanted[vaddr] = None
        ours = [at if there else None for at, there in zip(paddrs.tolist(), mask.tolist(), strict=True)]
        assert ours == [wanted[vaddr] for vaddr in some], access
        assert (paddrs[~mask] == pw.NO_PADDR).all()


@pytest.fixture(scope="module", params=["numpy", "numba"])
def engine(request):
    patch = pytest.MonkeyPatch()
    patch.setenv("PAGEWALK_ENGINE", request.param)
    yield request.param
    patch.undo()


class TestArraysAndOneAddress:
    @settings(max_examples=30)
    @given(st.integers(0, 1 << 32), st.sampled_from([x86_of, arm64_of, riscv_of]))
    def test_under_any_registers(self, engine, seed, of):
        rng = Random(seed)
        agree(of(rng), rng)

    @pytest.mark.parametrize("name", FORMATS)
    def test_of_every_format(self, engine, name):
        rng = Random(name)
        for _ in range(3):
            agree(find_format(name), rng)

    def test_the_kernel_answers_by_itself(self, engine, monkeypatch):
        """Once NumPy has met what entries there are, of addresses of one root."""
        if engine != "numba":
            return
        drawn = draw_tables(find_format("x86-64"), Random(5))
        window = drawn.window_of(drawn.places[0])
        vaddrs = np.array([at for at in drawn.places if window.holds(at)] * 400, np.uint64)
        before = [pw.translate(drawn.tables, vaddrs, access=access) for access in ACCESSES]

        def refuse(_way, _addresses, places, _out):
            assert not len(places), "NumPy is asked"

        monkeypatch.setattr(translation._Way, "descend", refuse)
        for access, found in zip(ACCESSES, before, strict=True):
            for one, other in zip(pw.translate(drawn.tables, vaddrs, access=access), found, strict=True):
                assert (one == other).all()
