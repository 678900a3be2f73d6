"""The figures: one table for people, one file of JSON for machines."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.frame import Benchmark, Result, Scale

__all__ = ["RESULTS", "machine", "save", "show"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("pagewalk", "numpy", "numba", "drgn", "volatility3")


def machine() -> dict[str, Any]:
    """What kind of machine this is, and nothing that tells which; and how busy others keep it."""
    return {
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) >> 20} GiB",
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _line(path: str, name: str) -> str:
    """The value of the first line of that name."""
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "0 unknown")


def _version(package: str) -> str | None:
    """A package's version, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def show(measured: Sequence[tuple[Benchmark, list[Result]]], about: dict[str, Any]) -> None:
    """Print the table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = (
        f"{datetime.now(UTC):%Y-%m-%d}, {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, "
        f"Python {about['python']}, NumPy {about['packages'].get('numpy')}, load {about['load']} before the run"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("items", "ns an item", "× the first", "MiB more"):
        table.add_column(name, justify="right", no_wrap=True)
    for benchmark, results in measured:
        table.add_section()
        table.add_row(f"[bold]{benchmark.name}[/bold]", benchmark.unit)
        for one in results:
            table.add_row(*_cells(one))
    console = Console(width=110)
    console.print(table)
    for benchmark, results in measured:
        for one in results:
            if one.missing:
                why = "WRONG" if one.wrong else "left out"
                console.print(f"{why}: {benchmark.name}: {one.case}: {one.missing}", markup=False, soft_wrap=True)


def _cells(one: Result) -> tuple[str, ...]:
    """A case's row."""
    if one.missing:
        return f"  {one.case}", "", "-", "-", "-"
    ratio = "-" if one.ratio is None else _short(one.ratio)
    peak = "?" if one.peak is None else f"{one.peak / (1 << 20):,.0f}"
    return f"  {one.case}", f"{one.items:,}", _short(one.median), ratio, peak


def _short(number: float) -> str:
    """Three digits or so."""
    return f"{number:,.2f}" if number < 10 else f"{number:,.1f}" if number < 100 else f"{number:,.0f}"


def save(measured: Sequence[tuple[Benchmark, list[Result]]], scale: Scale, about: dict[str, Any], folder: Path) -> Path:
    """Write the figures to a folder."""
    now = datetime.now(UTC)
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{scale.name}.json"
    figures = [
        {
            "name": benchmark.name,
            "unit": benchmark.unit,
            "results": [asdict(one) | {"median": one.median if one.rounds else None} for one in results],
        }
        for benchmark, results in measured
    ]
    content = {"date": f"{now:%Y-%m-%d}", "scale": asdict(scale), "machine": about, "benchmarks": figures}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
