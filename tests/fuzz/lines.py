"""Which lines of some modules run."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["traced"]


@contextmanager
def traced(names: tuple[str, ...]) -> Iterator[dict[str, tuple[set[int], set[int]]]]:
    """Collect lines while it is entered.

    Yields:
        Of each module the lines of its functions, and those of them that ran.
    """
    modules = {name: importlib.import_module(name) for name in names}
    files = {module.__file__: name for name, module in modules.items()}
    lines: dict[str, tuple[set[int], set[int]]] = {
        name: (set(_lines_of(module)), set()) for name, module in modules.items()
    }

    def trace(frame: Any, event: str, _: object) -> Any:
        name = files.get(frame.f_code.co_filename)
        if name is None:
            return None
        if event == "line":
            lines[name][1].add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(None)


def _lines_of(module: Any) -> Iterator[int]:
    """The lines of all functions of a module."""
    with open(module.__file__) as file:  # noqa: PTH123 - as it is
        code = compile(file.read(), module.__file__, "exec")
    todo: list[CodeType] = [one for one in code.co_consts if hasattr(one, "co_code")]
    while todo:
        one = todo.pop()
        todo += [inner for inner in one.co_consts if hasattr(inner, "co_code")]
        if one.co_flags & 2:  # CO_NEWLOCALS: a function, no class
            yield from (line for _, _, line in one.co_lines() if line and line != one.co_firstlineno)
