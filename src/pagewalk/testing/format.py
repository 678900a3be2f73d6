"""``check_format``: run it on a paging format of your own, in your own tests.

What it proves: golden entries mean what they must; every entry has one row, and every bit is accounted for; what is
read can be made again; what is split or taken out of its group keeps its meaning; and on random tables in every window,
trustworthy or not, the walk, the sweep and a slow reference written from the manual say the same.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from pagewalk.testing.agreement import check_against, check_meanings
from pagewalk.testing.definition import check_definition
from pagewalk.testing.drawn import draw_tables
from pagewalk.testing.entries import check_golden, check_round_trips, check_splits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.formats import PagingFormat
    from pagewalk.testing.golden import Golden
    from pagewalk.testing.reference import Reference

__all__ = ["check_format"]

ROUNDS: Final = 20


def check_format(
    form: PagingFormat,
    *,
    golden: Iterable[Golden] = (),
    reference: Reference | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> None:
    """Check a format, by itself and against what is known of it.

    Args:
        form: The format to check.
        golden: Entries whose meaning is known, of machines and manuals (``read_golden``).
        reference: A slow walker written from the manual; None: the engines are not compared with one.
        seed: Where chance begins.
        rounds: Tables to draw, half of them hostile.

    Raises:
        AssertionError: The format breaks a promise; the message names the row and the bits.
    """
    golden = tuple(golden)
    rng = Random(seed)  # noqa: S311 - chance, no secret
    check_definition(form)
    check_golden(form, golden)
    check_round_trips(form, rng)
    check_splits(form, rng)
    if reference is None:
        return
    check_meanings(form, reference, rng, golden)
    for at in range(rounds):
        drawn = draw_tables(form, rng, hostile=bool(at % 2), golden=golden)
        check_against(drawn, reference, rng)
