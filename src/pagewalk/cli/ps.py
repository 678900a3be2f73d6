"""``pagewalk ps``: the processes of the Linux in a memory image."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import click

from pagewalk.cli.opening import open_told
from pagewalk.cli.output import write
from pagewalk.cli.params import file_options, json_option, system_option
from pagewalk.cli.status import complain

__all__ = ["ps"]


@click.command
@file_options
@system_option
@click.option("--threads", is_flag=True, help="A line a thread.")
@click.option("--sweep", is_flag=True, help="Look through all of the memory for processes that are in no list as well.")
@click.option("--no-cost", is_flag=True, help="Do not measure page tables: faster where there are thousands.")
@json_option
def ps(
    source: str,
    os: str | None,
    threads: bool,
    sweep: bool,
    no_cost: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List the processes in a memory image.

    A line a process: its PID, threads, the top page table, what is resident and what its page tables take, as they lie
    in the image, its state if it is not an ordinary one, and its name. Neither symbols nor debug information are
    needed: kernels of distributions describe their own types (BTF, Linux 5.10 and newer). What was inferred, and what
    could not be known, is said on standard error.

    \b
    STATE:
      kernel     a kernel thread: it has no page tables of its own
      zombie     it has ended, and only waits for its parent
      unlisted   it is in no list of the kernel's: hidden, or lost (--sweep)
    """  # noqa: D301 - click's mark, that the lines stay as they are, is this character
    from pagewalk.report.processes import processes_json, processes_text

    notes: list[str] = []
    with open_told(source, **options) as opened:
        rows = opened.processes(threads=threads, cost=not no_cost, sweep=sweep, os=os, notes=notes)
    for note in notes:
        complain(f"note: {note}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    write(processes_json(opened.name, rows, notes) if as_json else processes_text(rows, width=width))
