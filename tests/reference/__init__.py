"""The oracles: slow, obvious, written from the manuals and from contract.md, never from ``pagewalk``.

* ``x86``, ``arm64``, ``riscv``: what an entry is, what an address translates to, everything in a range; one
  hand-written walker a family, and the windows that the registers give.
* ``linux``: what an entry that is not valid means, and the bits that are the kernel's own.
* ``families``: the formats by name, and what one raw entry says in the words of a golden file.
* ``contract``: which callbacks a walk makes.
* ``joins``: which pages join to one row.
"""

from tests.reference.contract import NAMES, Area, Call, Contract, NoFrame, Table, empty, flatten, model, split
from tests.reference.found import Decoded, Found, Read, Rights, Walker
from tests.reference.joins import Page, joined
from tests.reference.x86 import ADDRESS, EVERYTHING, PAGE, SHIFT_OF, Hardware, canonical

__all__ = [
    "ADDRESS",
    "EVERYTHING",
    "NAMES",
    "PAGE",
    "SHIFT_OF",
    "Area",
    "Call",
    "Contract",
    "Decoded",
    "Found",
    "Hardware",
    "NoFrame",
    "Page",
    "Read",
    "Rights",
    "Table",
    "Walker",
    "canonical",
    "empty",
    "flatten",
    "joined",
    "model",
    "split",
]
