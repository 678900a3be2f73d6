"""Who imports whom, read from the source: every import counts, under TYPE_CHECKING and inside functions too."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Graph = dict[str, set[str]]

__all__ = ["circle", "graph_of"]


def graph_of(package: Path) -> Graph:
    """The modules of a package, and what each imports of the others."""
    modules = {_name(path, package.parent): path for path in sorted(package.rglob("*.py"))}
    return {name: set(_imported(name, path, modules)) - {name} for name, path in modules.items()}


def circle(graph: Graph) -> list[str]:
    """A circle of imports, its first module again at the end; nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])[::-1]
    return []


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            module = _module_of(node, name, is_package=path.name == "__init__.py")
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                yield from (one for one in (submodule if submodule in modules else module,) if one in modules)


def _module_of(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    """The absolute name of what a ``from`` names."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, node.module] if node.module else above)
