"""``pagewalk map``: everything the tables hold in a range."""

from __future__ import annotations

from typing import Any

import click

from pagewalk.cli.listing import Listing, json_of, text_of
from pagewalk.cli.opening import open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import NUMBER, json_option, source_options
from pagewalk.cli.wanted import Wanted, wanted_options, warn

__all__ = ["map"]


@click.command
@source_options
@wanted_options
@click.option("--holes", is_flag=True, help="Show what is not mapped too.")
@click.option("--state", is_flag=True, help="Keep apart what differs in accessed or dirty only.")
@click.option("--pages", is_flag=True, help="One row an entry, with its raw value, instead of joined runs.")
@click.option("--limit", type=NUMBER, metavar="N", help="Show N rows; the totals are those of all rows still.")
@json_option
def map(as_json: bool, limit: int | None, **options: Any) -> int:  # noqa: A001 - the command's name
    """List what is mapped where.

    A line a run of like pages: addresses, size, page size, first frame, effective rights (read, write, execute, user),
    what kind of entry it is, and its state. Runs that differ in accessed or dirty only are shown as one, with the state
    that all of its pages have; --state, --pages and --json keep them apart. A frame =0x5000 is the one frame of every
    page in the run; "outside" is a frame that the memory image does not have. What is malformed is passed over with a
    warning.

    SOURCE is an image or a dump of physical memory, with --root, --registers or --pid where it does not say them
    itself; qmp:PATH, gdb:PATH or gdb:HOST:PORT: a machine that QEMU runs; or pid:N: a process of this machine.

    \b
    KINDS, with commas between:
      present prot_none swap migration guard uffd_wp hwpoison other
    FLAGS, with commas between:
      read write exec user global accessed dirty special soft_dirty uffd_wp
      exclusive file no_frame saved_dirty repeated outside kernel_exec grouped
    """  # noqa: D301 - click's mark, that the lines stay as they are, is this character
    wanted = Wanted.taken_from(options)
    shape = {name: options.pop(name) for name in ("start", "end", "holes", "state", "pages")}
    opened = open_source(**options)
    if shape["start"] is None:
        shape["start"] = opened.tables.windows[0].start
    listing = Listing(opened, wanted, limit=limit, **shape)
    write(json_of(listing) if as_json else text_of(listing))
    warn(listing.findings)
    return listing.verdict
