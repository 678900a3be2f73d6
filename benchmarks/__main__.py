"""``python -m benchmarks [NAME...] [--quick] [--rounds N]``: the benchmarks, as ratios within one run."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.frame import SCALES
from benchmarks.report import RESULTS, machine, save, show
from benchmarks.rounds import measure
from benchmarks.worker import benchmarks_of

NAMES = ("listing", "formats", "hostile", "changes", "edits", "growth", "walk", "guest", "live")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)} (all)")
    parser.add_argument("--scale", choices=SCALES, default="full", help="how much is done")
    parser.add_argument("--quick", action="store_const", const="quick", dest="scale", help="the same as --scale quick")
    parser.add_argument("--rounds", type=int, help="at most so many")
    parser.add_argument("--only", default="", metavar="TEXT", help="only benchmarks whose name contains it")
    parser.add_argument("--folder", type=Path, help="for the images; kept there (by default a temporary one)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    scale = SCALES[options.scale]
    if options.rounds:
        scale = replace(scale, rounds=options.rounds, least=min(scale.least, options.rounds))
    about = machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the images go, and the workers
    with tempfile.TemporaryDirectory(prefix="pagewalk-bench-") as temporary:
        measured = []
        for name in options.names or NAMES:
            for at, benchmark in enumerate(benchmarks_of(name, scale.name)):
                if options.only not in benchmark.name:
                    continue
                print(f"{benchmark.name} ...", file=sys.stderr, flush=True)
                measured.append((benchmark, measure(benchmark, scale, (name, at), options.folder or Path(temporary))))
    show(measured, about)
    print(f"written to {save(measured, scale, about, options.results)}")
    sys.exit(any(one.wrong for _, results in measured for one in results))


if __name__ == "__main__":
    main()
