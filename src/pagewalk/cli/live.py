"""``pagewalk live``: what is in the page tables of a running process."""

from __future__ import annotations

import os

import click

from pagewalk.cli.output import paint, write
from pagewalk.cli.params import json_option

__all__ = ["live"]


@click.command
@click.argument("pid", type=click.IntRange(min=1), required=False)
@click.option("--guards", is_flag=True, help="List the guard regions, each with its VMA.")
@json_option
def live(pid: int | None, guards: bool, as_json: bool) -> None:
    """Show what is really in the page tables of a process, VMA by VMA.

    Without a PID: of the process that called pagewalk, usually your shell. A line a VMA: how much of it is mapped by
    4096-byte pages, by huge pages (THP, hugetlb), is there without rights, is the zero page, a guard region, swapped
    out, or was never touched. The process is not stopped: what changed while it was read is said.

    Other users' processes need root; without it, frame numbers are not known. Needs Linux 6.7, guard regions 6.13.
    """
    from pagewalk.live.capture import capture
    from pagewalk.report.process import guards_text, process_json, process_text

    space = capture(os.getppid() if pid is None else pid)
    if as_json:
        write(process_json(space))
    else:
        write(guards_text(space) if guards else process_text(space, paint))
