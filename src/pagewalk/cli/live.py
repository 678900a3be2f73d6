"""``pagewalk live``: what is in the page tables of a running process."""

from __future__ import annotations

from typing import Any

import click

from pagewalk.cli.areas import AreasCommand, areas_options, show
from pagewalk.cli.params import LAST_PID, Number

__all__ = ["live"]


@click.command(cls=AreasCommand)
@click.argument("pid", type=Number(least=1, most=LAST_PID), required=False)
@areas_options
def live(pid: int | None, **options: Any) -> None:
    """Show what is really in the page tables of a process, VMA by VMA.

    Without a PID: of the process that called pagewalk, usually your shell. The totals come first, with what the page
    tables themselves cost: what the kernel counts, and how many tables of each level it takes at least. Then a line a
    VMA. On a terminal, names are shortened to fit, and columns left out if need be; in a pipe all is there. The process
    is not stopped: what changed while it was read is said.

    Other users' processes need root; without it, frame numbers are not known. Needs Linux 6.7, guard regions 6.13.
    A process in a dump: pagewalk vmas.
    """
    from pagewalk.live.capture import capture
    from pagewalk.live.processes import caller

    show(capture(caller() if pid is None else pid), **options)
