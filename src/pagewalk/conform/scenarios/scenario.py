"""A scenario as data: files and steps, so that two sides can be asked the very same thing.

``to_json`` and ``from_json`` round-trip; so does ``repr``, pasted into a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from pagewalk.abi import MADV_HWPOISON, MADV_SOFT_OFFLINE
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.steps import STEPS, Limited, Step

__all__ = ["File", "Scenario"]


@dataclass(frozen=True, slots=True)
class File:
    """A file made before the first step.

    Attributes:
        name: As ``maps`` shows it, less the folder.
        pages: Pages of ``pattern(name)``; a file of huge pages holds nothing at first.
        kind: memfd, which is shared memory, disk, a real file, hugetlb, a memfd of huge pages, or a mount's option that
            says when a file on a tmpfs has huge pages: huge=always, huge=within_size, huge=advise.
        writable: Whether it is open for writing, not only for reading.
    """

    name: str
    pages: int
    kind: str = "memfd"
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """Files and steps."""

    steps: tuple[Step, ...]
    files: tuple[File, ...] = ()

    def __repr__(self) -> str:
        files = "".join(f"\n        {file!r}," for file in self.files)
        steps = "".join(f"\n        {step!r}," for step in self.steps)
        return f"Scenario(\n    steps=({steps}\n    ),\n    files=({files}\n    ),\n)"

    def to_json(self) -> str:
        """As text that ``from_json`` reads."""
        files = [[f.name, f.pages, f.kind, f.writable] for f in self.files]
        return json.dumps({"files": files, "steps": [_plain_step(step) for step in self.steps]})

    @property
    def breaks_memory(self) -> bool:
        """Whether a step destroys frames of the machine that it is taken on."""
        steps = (step.taken if isinstance(step, Limited) else step for step in self.steps)
        return any(getattr(step, "advice", None) in (MADV_HWPOISON, MADV_SOFT_OFFLINE) for step in steps)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: It is not that.
        """
        plain = json.loads(text)
        files = tuple(File(*file) for file in plain["files"])
        return cls(tuple(_step(step) for step in plain["steps"]), files)


def _plain_step(step: Step) -> dict[str, Any]:
    changed = {f.name: getattr(step, f.name) for f in fields(step) if getattr(step, f.name) != f.default}
    return {"step": type(step).__name__} | {name: _plain(value) for name, value in changed.items()}


def _step(plain: dict[str, Any]) -> Step:
    values = {name: _value(value) for name, value in plain.items() if name != "step"}
    return STEPS[plain["step"]](**values)


def _plain(value: Any) -> Any:
    match value:
        case At():
            return {"at": [value.page, value.byte, value.base]}
        case bytes():
            return {"hex": value.hex()}
        case Step():
            return _plain_step(value)
        case tuple():
            return [_plain(item) for item in value]
    return value


def _value(plain: Any) -> Any:
    match plain:
        case {"at": [page, byte, base]}:
            return At(page, byte, base)
        case {"step": _}:
            return _step(plain)
        case {"hex": text}:
            return bytes.fromhex(text)
        case list():
            return tuple(_value(item) for item in plain)
    return plain
