"""``python -m tests.fuzz NAME --inputs N [--seed S] [--first N] [--lines]``: hostile files for a parser."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import parsers
from tests.fuzz.campaign import campaign
from tests.fuzz.lines import traced


def main() -> int:
    """Run a campaign and say what came of it."""
    names = [module.name for module in pkgutil.iter_modules(parsers.__path__)]
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("name", choices=names)
    words.add_argument("--inputs", type=int, default=100_000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--first", type=int, default=0, help="the number of the first input")
    words.add_argument("--lines", action="store_true", help="say which lines of the parser ran; slower")
    asked = words.parse_args()
    target = importlib.import_module(f"tests.fuzz.parsers.{asked.name}").TARGET
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        lines = stack.enter_context(traced(target.modules)) if asked.lines else {}
        found = campaign(target, asked.inputs, Path(folder), asked.seed, asked.first)
    seconds = time.perf_counter() - begun
    print(f"{asked.inputs:,} inputs in {seconds:.0f} s: {found.opened:,} opened, {found.refused:,} refused")
    print(f"{found.past:,} past the header")
    print(", ".join(f"{name} {count:,}" for name, count in found.errors.most_common()))
    print(f"slowest {found.slowest[0]:.3f} s (input {found.slowest[1]}); grown by {found.grown >> 10} MiB")
    for name, (every, ran) in lines.items():
        missed = sorted(every - ran)
        print(f"{name}: {1 - len(missed) / max(1, len(every)):.0%} of {len(every)} lines; not {missed}")
    for number, why in found.wrong[:20]:
        print(f"WRONG: input {number}: {why}")
    return len(found.wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
