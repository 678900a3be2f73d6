"""A CPU's list of pages that wait to be locked. Kernels are asked what it comes to: ``conformance/written/used.py``."""

import numpy as np

from pagewalk.mm.paging.arrivals import LockList


def alone(count):
    """Pages that come one by one, each looked at at once."""
    return np.arange(count), np.arange(1, count + 1)


def test_the_page_that_fills_the_list_is_locked_at_once():
    assert np.flatnonzero(LockList().add(*alone(100))).tolist() == [30, 61, 92]


def test_the_list_goes_on_where_it_was():
    waiting = LockList()
    assert not waiting.add(*alone(20)).any()
    assert np.flatnonzero(waiting.add(*alone(20))).tolist() == [10]
    assert np.flatnonzero(waiting.add(*alone(30))).tolist() == [21]


def test_pages_that_came_together_leave_together():
    """32 in two lots of 16: the first 31 had left when those of the second lot are looked at."""
    come = np.repeat([16, 32], 16)
    assert np.flatnonzero(LockList().add(np.arange(32), come)).tolist() == list(range(16, 31))
