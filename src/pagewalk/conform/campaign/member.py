"""``python -m pagewalk.conform.campaign.member``: one process of a crew; takes shares of a campaign.

It ends with its pipe.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.sides.process import parents_pipe

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pagewalk.conform.campaign.campaign import Maker, Sides


def main() -> None:
    """Make the two sides, say so, then answer each range of seeds with what it gave, or with what ended it."""
    pipe = parents_pipe()
    try:
        sys.path[:] = pipe.recv()
        processor, sides, make = pipe.recv()
        os.sched_setaffinity(0, {processor})
        _serve(pipe, sides, make)
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        pipe.send(error)


def _serve(pipe: Connection, sides: Sides, make: Maker) -> None:
    with sides() as (left, right):
        pipe.send(None)
        while True:
            seeds: range = pipe.recv()
            pipe.send(run_campaign(left, right, seed=seeds.start, sequences=len(seeds), make=make))


if __name__ == "__main__":
    main()
