"""Large folios as numbers: what belongs together, and what is left of it after a split."""

import pytest

import pagewalk as pw
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.state.folios import Folios
from pagewalk.mm.state.thp import sizes_for_write, wants_block
from pagewalk.space import VmaFlags

BLOCK = 512


@pytest.fixture
def folios():
    return Folios(BLOCK)


def sizes(folios, pages):
    """The folios of a run of pages, each by its first page and size."""
    found, index = [], pages.start
    while index < pages.stop:
        folio = folios.of(index)
        assert {folios.of(other) for other in folio} == {folio}
        found.append((folio.start, len(folio)))
        index = folio.stop
    return found


def test_a_page_is_a_folio_of_its_own(folios):
    assert folios.of(700) == range(700, 701)
    folios.join(range(BLOCK, 2 * BLOCK))
    assert folios.of(700) == range(BLOCK, 2 * BLOCK)
    assert folios.of(BLOCK - 1) == range(BLOCK - 1, BLOCK)
    assert folios.of(2 * BLOCK) == range(2 * BLOCK, 2 * BLOCK + 1)
    assert list(folios) == [range(BLOCK, 2 * BLOCK)]


@pytest.mark.parametrize("at", [0, 1, 100, 255, 256, 511])
def test_halves_down_to_one_page(folios, at):
    """``folio_split``, non-uniform: one folio of each size is left, and the page with its neighbour."""
    folios.join(range(BLOCK))
    folios.halve(range(BLOCK), at)
    left = sizes(folios, range(BLOCK))
    assert folios.of(at) == range(at, at + 1)
    assert sorted(size for _, size in left) == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert all(first % size == 0 for first, size in left)
    assert not [folio for folio in folios if len(folio) == BLOCK]


def test_forgotten_ones_are_single_pages(folios):
    for first in (0, BLOCK):
        folios.join(range(first, first + BLOCK))
    folios.forget(range(BLOCK))
    assert folios.of(3) == range(3, 4)
    assert len(folios) == 1
    folios.join(range(BLOCK, 2 * BLOCK))
    assert len(folios) == 1


@pytest.mark.parametrize(
    ("policy", "flags", "pages", "wants"),
    [
        ("never", VmaFlags.HUGEPAGE, 1024, False),
        ("deny", VmaFlags.HUGEPAGE, 1024, False),
        ("advise", VmaFlags(0), 1024, False),
        ("advise", VmaFlags.HUGEPAGE, 1, True),
        ("within_size", VmaFlags(0), 1023, False),
        ("within_size", VmaFlags(0), 1024, True),
        ("within_size", VmaFlags.HUGEPAGE, 1, True),
        ("always", VmaFlags(0), 1, True),
        ("force", VmaFlags(0), 1, True),
        ("force", VmaFlags.NOHUGEPAGE, 1024, False),
    ],
)
def test_what_a_fault_brings_in(policy, flags, pages, wants):
    assert wants_block(policy, flags, 700, BLOCK, pages) is wants


@pytest.mark.parametrize(
    ("policy", "index", "pages", "largest"),
    [
        ("never", 0, 1024, 1),
        ("advise", 0, 1024, 1),
        ("force", 700, 1, BLOCK),
        ("always", 700, 1, BLOCK),
        ("within_size", 0, 40, 32),
        ("within_size", 32, 40, 8),
        ("within_size", 700, 1024, BLOCK),
    ],
)
def test_what_a_write_brings_in(policy, index, pages, largest):
    assert max(sizes_for_write(policy, index, BLOCK, pages), default=1) == largest


def test_a_folio_that_has_lost_a_page_is_none_when_it_is_counted_anew():
    """A discard that is torn off has taken pages out, and not yet the folio."""
    machine = pw.Machine(ram=8 << 20)
    file = machine.file("torn", contents=bytes(16 * 4096), huge="always")
    assert len(file.folios.of(3)) == BLOCK
    lost = file.pages.pop(3)
    machine.recount()
    assert file.folios.of(3) == range(3, 4)
    assert machine.frames.used_as(lost, Usage.FREE)[0]
    assert machine.usage()["file"] == (BLOCK - 1) * 4096
    assert machine.frames.recency.pages(file.paddrs([0, 511])).tolist() == [1, 1]
