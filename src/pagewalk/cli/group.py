"""The group of commands: each is imported when it is used, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from pagewalk.cli.status import finish
from pagewalk.errors import UnsupportedError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "map": ("pagewalk.cli.map", "What is mapped where: pages, swap, guards, holes."),
    "count": ("pagewalk.cli.count", "How much is mapped, by kind and page size."),
    "vtop": ("pagewalk.cli.vtop", "Translate addresses, showing every level's entry."),
    "info": ("pagewalk.cli.info", "What an image or a dump is, and what it says of itself."),
    "ps": ("pagewalk.cli.ps", "The processes in a memory image."),
    "vmas": ("pagewalk.cli.vmas", "What is in each VMA of a process in a memory image."),
    "read": ("pagewalk.cli.read", "The bytes at virtual addresses, as a hex dump or as they are."),
    "roots": ("pagewalk.cli.roots", "Where page tables begin: every process's and the kernel's, without symbols."),
    "build": ("pagewalk.cli.build", "Page tables from a layout, and a layout from page tables."),
    "edit": ("pagewalk.cli.edit", "Change page tables: a plan, a journal, an undo."),
    "live": ("pagewalk.cli.live", "What is in the page tables of a running process."),
    "conform": ("pagewalk.cli.conform", "The simulated address space against the running kernel."),
    "demo": ("pagewalk.cli.demo", "Guard regions, simulated and on the running kernel."),
}
"""Each command by name: its module, which has a click command of that name, and its line in the help."""


class _Group(click.Group):
    """Commands by name, from ``COMMANDS``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(import_module(module), cmd_name)
        except ModuleNotFoundError as error:
            raise UnsupportedError(f"{cmd_name!r} is not installed here: it needs {error.name}") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and end the process; see ``status`` for what with."""
        extra = {"prog_name": "pagewalk", **extra, "standalone_mode": False}
        sys.exit(finish(lambda: click.Group.main(self, *args, **extra)))


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="pagewalk", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Walk, query and edit page tables.

    SOURCE is an image or a dump of physical memory; qmp:PATH, gdb:PATH or gdb:HOST:PORT for a machine that QEMU runs;
    or pid:N for a process of this machine; a bare number is a process where there is no file of that name. Numbers are
    decimal or 0x..., and may end in K, M, G or T (times 1024). An address may also be written as kernels and debuggers
    do: ffffffff81000000, 0xffff_8000_0000_0000, fffff800`12345678.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
