"""``pagewalk info``: what an image or a dump is, and what it says of itself."""

from __future__ import annotations

import json
from typing import Any

import click

from pagewalk.cli.opening import open_memory
from pagewalk.cli.output import write
from pagewalk.cli.params import file_options, json_option
from pagewalk.errors import UnsupportedError

__all__ = ["info"]


@click.command
@file_options
@json_option
def info(source: str, as_json: bool, **options: Any) -> None:
    """Say what an image or a dump is, and what it says of itself.

    Its type, found by its content; where it has memory; the registers of each CPU and the format that they say; what
    the kernel says in VMCOREINFO, the main keys of it (--json: all); and what is missing from it. A dump with registers
    needs no --root in the other commands.
    """
    from pagewalk.report.source import source_json, source_text
    from pagewalk.sources import type_named

    if source.startswith("pid:"):
        raise UnsupportedError(f"{source} is a process: pagewalk live shows it")
    with open_memory(source, **options) as opened:
        what = type_named(opened.type).what
        write([json.dumps(source_json(opened, what), indent=2) + "\n"] if as_json else source_text(opened, what))
