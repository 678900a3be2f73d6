"""``pagewalk conform``: the simulated address space and the running kernel answer the same questions."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.output import write
from pagewalk.cli.params import Number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.conform.campaign.campaign import Campaign, Maker, Progress, Sides

__all__ = ["conform"]


@click.command
@click.option("--seed", type=Number(), default=0, show_default=True, help="The first sequence's seed.")
@click.option("--sequences", type=Number(least=1), default=200, show_default=True, help="How many, one a seed.")
@click.option("--from", "start", type=Number(), default=0, help="Go on from this seed: those before it are left out.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write down what was found, and leave out what is there already: a line of JSON for every ten sequences.",
)
@click.option("--steps", type=Number(least=1), default=30, show_default=True, help="Steps in each.")
@click.option("--arguments", is_flag=True, help="Every call with odd arguments, two at a time, eight calls a sequence.")
@click.option(
    "--swap",
    is_flag=True,
    help="Swap too: a file of 64 MiB, on meanwhile. For root; one process. Nobody else should compare meanwhile.",
)
@click.option("--hugetlb", is_flag=True, help="hugetlb pages too, of a pool enlarged by 4: likewise.")
@click.option("--userfaultfd", is_flag=True, help="Write-protect with userfaultfd in all, and not in one of six.")
@click.option("--jobs", type=Number(), default=0, help="Processes that share the work; 0: one a processor.")
@click.option(
    "--timeout",
    type=Number(least=1, most=86_400),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="What a sequence may take on the kernel; one that takes longer proves nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def conform(
    seed: int,
    sequences: int,
    start: int,
    results: Path | None,
    steps: int,
    arguments: bool,
    swap: bool,
    hugetlb: bool,
    userfaultfd: bool,
    jobs: int,
    timeout: int,
    as_json: bool,
) -> int:
    """Ask the running kernel and the simulated address space the same questions.

    Random sequences of system calls and accesses run in a child process and on the model; results, errors, maps and
    every page's state are compared after each step. The first disagreement is shrunk and printed. Exits with 0 if all
    agree, with 1 if not. With --arguments, 3,300 sequences ask everything once.
    """
    from pagewalk.conform.campaign.campaign import kernel_and_model
    from pagewalk.conform.campaign.crew import processors
    from pagewalk.conform.campaign.text import campaign_text
    from pagewalk.conform.scenarios.arguments import ask
    from pagewalk.conform.scenarios.generate import generate
    from pagewalk.conform.sides.facts import require_settings
    from pagewalk.conform.sides.pool import huge_pool
    from pagewalk.conform.sides.probe import require_machine
    from pagewalk.conform.sides.swap import swap_file

    require_machine()
    require_settings()
    if arguments + swap + hugetlb + userfaultfd > 1:
        raise click.UsageError("give one of --arguments, --swap, --hugetlb and --userfaultfd")
    alone = swap or hugetlb
    jobs = 1 if alone else min(jobs or len(processors()), -(-sequences // 50))  # a process takes a second to start
    make = ask if arguments else partial(generate, steps=steps, swap=swap, hugetlb=hugetlb, uffd=userfaultfd)
    what = {"arguments": arguments, "steps": steps, "swap": swap, "hugetlb": hugetlb, "userfaultfd": userfaultfd}
    with _signals_clean_up(), swap_file() if swap else huge_pool() if hugetlb else nullcontext():
        seeds = range(max(seed, start), seed + sequences)
        result = _go_on(results, what, seeds, jobs, partial(kernel_and_model, timeout), make)
    if as_json:
        write([json.dumps(_plain(result), indent=2) + "\n"])
    else:
        write([campaign_text(result, ("kernel", "model"))])
    return int(result.disagreement is not None)


def _go_on(path: Path | None, what: dict[str, Any], seeds: range, jobs: int, sides: Sides, make: Maker) -> Campaign:
    """What some seeds give, those of which a file has the results among them."""
    from pagewalk.conform.campaign.campaign import Campaign
    from pagewalk.conform.campaign.crew import run_crew
    from pagewalk.conform.campaign.results import Results

    kept = None if path is None else Results(path, what)
    first, result = (seeds.start, Campaign()) if kept is None else kept.known(seeds.start, seeds.stop)
    left = max(seeds.stop - first, 0)
    with _progress(left) as progress:
        if left:
            record = None if kept is None else kept.add
            result.add(run_crew(jobs, sides, seed=first, sequences=left, make=make, progress=progress, record=record))
    return result


def _plain(result: Campaign) -> dict[str, Any]:
    found = result.disagreement
    return {
        "agreed": result.agreed,
        "inconclusive": [{"seed": seed, "why": why} for seed, why in result.inconclusive],
        "seed": result.seed,
        "disagreement": None if found is None else found.to_plain(),
    }


@contextmanager
def _signals_clean_up() -> Iterator[None]:
    """SIGTERM and SIGHUP, unless ignored, unwind as Ctrl-C does; the exit code is the shell's for them, 143 or 129."""

    def end(signo: int, frame: object) -> None:
        raise SystemExit(128 + signo)

    before = {signo: signal.getsignal(signo) for signo in (signal.SIGTERM, signal.SIGHUP)}
    for signo, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(signo, end)
    try:
        yield
    finally:
        for signo, handler in before.items():
            signal.signal(signo, handler)


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        console.show_cursor()  # nobody could bring it back after a SIGKILL
        task = bar.add_task("conform", total=total)

        def tick(what: str, done: int) -> None:
            bar.update(task, description=what, advance=done)

        yield tick
