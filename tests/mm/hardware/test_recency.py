"""How recently folios were used: notes at a folio's first frame, and what becomes of them when folios change."""

import numpy as np
import pytest

from pagewalk.mm.hardware.recency import Recency

PAGE = 4096


def frames(*numbers):
    return np.array(numbers, np.uint64) * np.uint64(PAGE)


def nobody(folios):
    return np.zeros(len(folios), bool)


def everybody(folios):
    return np.ones(len(folios), bool)


@pytest.fixture
def recency():
    return Recency(16, PAGE)


def marked(recency, times, *numbers, locked=nobody):
    """Marked by as many system calls."""
    for _ in range(times):
        recency.mark(frames(*numbers), locked)
        recency.drain()


@pytest.mark.parametrize(("times", "referenced"), [(0, False), (1, True), (2, False), (3, True), (4, True), (5, True)])
def test_marks_make_referenced_then_active(recency, times, referenced):
    """``folio_mark_accessed``: the second mark takes the reference back, once."""
    marked(recency, times, 3)
    assert recency.referenced(frames(3, 4)).tolist() == [referenced, False]


@pytest.mark.parametrize("times", range(8))
def test_within_a_system_call_every_other_mark_takes_the_reference_back(recency, times):
    """A single page waits to be active, and is so when the call is over."""
    recency.mark(frames(*[4] * times), nobody)
    for _ in range(times):
        recency.mark(frames(5), nobody)
    assert recency.referenced(frames(4, 5)).tolist() == [times % 2 == 1] * 2
    recency.drain()
    marked(recency, 2, 4, 5)
    assert recency.referenced(frames(4, 5)).tolist() == [times > 0] * 2


@pytest.mark.parametrize("times", range(6))
def test_a_large_folio_is_active_at_once(recency, times):
    recency.join(frames(8, 9, 10, 11))
    recency.mark(frames(*[9] * times), nobody)
    assert recency.referenced(frames(8)).tolist() == [times == 1 or times > 2]


def test_31_become_active_together():
    recency = Recency(64, PAGE)
    every = frames(*range(40))
    for _ in range(4):
        recency.mark(every, nobody)
    assert np.flatnonzero(recency.referenced(every)).tolist() == list(range(31))


def test_a_large_folio_takes_those_along_that_wait(recency):
    recency.join(frames(8, 9))
    for _ in range(2):
        recency.mark(frames(3, 8, 4), nobody)
    for _ in range(2):
        recency.mark(frames(3, 4), nobody)
    assert recency.referenced(frames(3, 4)).tolist() == [True, False]


def test_a_locked_folio_stays_referenced_and_is_not_active_any_more(recency):
    marked(recency, 5, 3, locked=everybody)
    assert recency.referenced(frames(3)).all()
    marked(recency, 1, 3)
    assert not recency.referenced(frames(3)).any()  # it has become active only now
    marked(recency, 1, 3, locked=everybody)
    marked(recency, 1, 3)
    assert not recency.referenced(frames(3)).any()


def test_who_is_locked_is_asked_only_where_it_matters(recency):
    def never(folios):
        raise AssertionError(folios)

    recency.mark(frames(1, 2, 3), never)
    recency.mark(frames(), never)


def test_a_folio_of_any_frames_has_one_note(recency):
    recency.join(frames(9, 2, 5))
    recency.refer(frames(5))
    assert recency.referenced(frames(2, 5, 9, 3)).tolist() == [True, True, True, False]
    assert recency.folios(frames(2, 5, 3)).tolist() == frames(9, 9, 3).tolist()
    assert recency.pages(frames(2, 3)).tolist() == [3, 1]
    marked(recency, 1, 2, 5)  # two marks of one folio
    recency.forget_references(frames(9))
    recency.deactivate(frames(2))
    marked(recency, 2, 2)
    assert not recency.referenced(frames(9)).any()


def test_parts_take_over_what_the_whole_had(recency):
    recency.join(frames(4, 5, 6, 7))
    recency.refer(frames(4))
    recency.separate(frames(4, 5, 6, 7))
    recency.join(frames(6, 7))
    recency.forget(frames(4))
    assert recency.referenced(frames(4, 5, 6, 7)).tolist() == [False, True, True, True]
    recency.forget(frames(7))
    assert recency.referenced(frames(5, 6, 7)).tolist() == [True, False, False]


def test_a_new_frame_is_single_and_has_no_note(recency):
    recency.join(frames(4, 5))
    recency.refer(frames(5))
    recency.separate(frames(4, 5))
    recency.begin(frames(5))
    assert recency.referenced(frames(4, 5)).tolist() == [True, False]
    assert recency.pages(frames(4, 5)).tolist() == [1, 1]


def test_a_frame_takes_over_the_note_of_another(recency):
    recency.refer(frames(1))
    recency.take_over(PAGE, 2 * PAGE)
    assert recency.referenced(frames(2)).all()


def test_counted_anew(recency):
    recency.join(frames(4, 5))
    recency.join(frames(8, 9))
    recency.activate(frames(4, 8))
    recency.recount([frames(8, 9), frames(10, 11)])
    assert recency.pages(frames(4, 8, 11)).tolist() == [1, 2, 2]
    marked(recency, 1, 5)
    assert recency.referenced(frames(4, 5)).tolist() == [False, True]
