"""The command line: ``pagewalk COMMAND``; one file a command."""

from __future__ import annotations

from pagewalk.cli.group import main

__all__ = ["main"]
