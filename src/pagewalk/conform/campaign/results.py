"""A campaign's results in a file, so that it can be gone on with: a line of JSON for every few sequences.

How it works: the first line says what the sequences are; those of another kind do not belong into the file. Every other
line has the seeds, from the first to before the last, and what they gave. What was written of a line when the campaign
was killed is struck off. A disagreement is looked at again, as the code may be another one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pagewalk.conform.campaign.campaign import Campaign
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Results"]


class Results:
    """The results that are in a file, and those that will be.

    Args:
        path: The file; it is made if there is none.
        what: What the sequences are.

    Raises:
        UnsupportedError: It holds something else.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: Path, what: dict[str, Any]) -> None:
        self._path = path
        kept = _whole_lines(path)
        try:
            self._lines = [json.loads(line) for line in kept]
        except ValueError as error:
            raise UnsupportedError(f"{path} holds no results of a campaign: {error}") from error
        if kept and self._lines[0] != {"sequences": what}:
            raise UnsupportedError(f"{path} holds the results of other sequences, {kept[0]}: take another file")
        if not kept:
            self._write({"sequences": what})

    def known(self, seed: int, end: int) -> tuple[int, Campaign]:
        """The first seed from ``seed`` on of which nothing is known but a disagreement, and what those before gave."""
        result = Campaign()
        for first, last, line in sorted((*line["seeds"], number) for number, line in self._numbered()):
            done = self._lines[line]
            if done["seed"] is not None:
                last = done["seed"]
            if first <= seed < last:
                before = [(number, why) for number, why in done["inconclusive"] if seed <= number < min(last, end)]
                result.inconclusive += before
                result.agreed += min(last, end) - seed - len(before)
                seed = min(last, end)
        return seed, result

    def _numbered(self) -> list[tuple[int, dict[str, Any]]]:
        return list(enumerate(self._lines))[1:]

    def add(self, seeds: range, gave: Campaign) -> None:
        """Write down what some seeds gave."""
        found = gave.disagreement
        self._write({
            "seeds": [seeds.start, seeds.stop],
            "agreed": gave.agreed,
            "inconclusive": gave.inconclusive,
            "seed": gave.seed,
            "disagreement": None if found is None else found.to_plain(),
        })  # fmt: skip

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file; the last one is struck off if it is not whole."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return whole.decode(errors="replace").splitlines()
