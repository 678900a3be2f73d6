"""``pagewalk vmas``: what is in the page tables of a process, in a dump or here, VMA by VMA."""

from __future__ import annotations

from typing import Any

import click

from pagewalk.cli.areas import AreasCommand, areas_options, show
from pagewalk.cli.opening import open_told, process_of
from pagewalk.cli.params import LAST_PID, Number, file_options, system_option

__all__ = ["vmas"]


@click.command(cls=AreasCommand)
@file_options
@click.option("--pid", type=Number(least=1, most=LAST_PID), metavar="N", help="The process, as ps lists them.")
@system_option
@areas_options
def vmas(source: str, pid: int | None, os: str | None, **options: Any) -> None:
    """Show what is really in the page tables of a process in an image or a dump, VMA by VMA.

    The totals come first, with what the page tables themselves cost: what the kernel counts, and how many tables of
    each level there are. Then a line a VMA, as pagewalk live shows a running process. The VMAs are read from the kernel
    in the memory, as ps reads processes: no debug information is needed. Whose pages they are is not in page tables:
    SHARED is of live processes.

    SOURCE may also be pid:N, a process of this machine: as pagewalk live N.
    """
    shown = {name: options.pop(name) for name in ("guards", "filters", "sort", "top", "as_json")}
    number = process_of(source, pid=pid, os=os, **options)
    if number is not None:
        from pagewalk.live import capture

        show(capture(number), **shown)
        return
    if pid is None:
        context = click.get_current_context(silent=True)
        raise click.UsageError("Missing option '--pid': which process; pagewalk ps lists them.", context)
    show(open_told(source, **options).space(pid, os=os), **shown)
