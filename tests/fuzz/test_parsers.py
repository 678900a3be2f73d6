"""Some thousand hostile files for each parser; ``python -m tests.fuzz NAME`` has as many as you want."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import parsers
from tests.fuzz.campaign import campaign

if TYPE_CHECKING:
    from pathlib import Path

SLOW = {"packed": 100}
"""Parsers of which fewer are tried: a child is started for some."""


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(parsers.__path__)])
def test_hostile_files(name: str, tmp_path: Path) -> None:
    target = importlib.import_module(f"tests.fuzz.parsers.{name}").TARGET
    found = campaign(target, SLOW.get(name, 2000), tmp_path, seed=1)
    assert found.wrong == []
    assert found.opened
    assert found.refused
