"""``python -m benchmarks [NAME...] [--rounds N]``: the benchmarks, as ratios within one run."""

from __future__ import annotations

import argparse
import importlib
import json

from benchmarks.frame import Benchmark, measure, run_case, save, show

NAMES = ("walk", "peers")


def load(name: str) -> Benchmark:
    """The benchmark of a module."""
    benchmark: Benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    return benchmark


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)} (all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "INDEX"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        name, at = options.case
        print(json.dumps(run_case(load(name).cases[int(at)])))
        return
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in options.names or NAMES:
        benchmark = load(name)
        results = measure(name, benchmark, max(options.rounds, 1))
        show(benchmark, results)
        print(f"written to {save(name, benchmark, results)}")


if __name__ == "__main__":
    main()
