"""Commands that a guest's program obeys: through a page of its memory, by whoever can write the file it lies in."""

from __future__ import annotations

import errno
import mmap
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tests.real.truth import FRAME

if TYPE_CHECKING:
    from tests.real.boot import Guest

__all__ = ["FILLED", "Answer", "Control", "filled"]

MAGIC: Final = 0x6C61776567617063
READ, WRITE, PAGEMAP, MADVISE, MUNMAP, MPROTECT, FAULTS, WATCH, PASS, END = range(1, 11)
WORDS: Final = ("magic", "command", "address", "length", "argument", "done", "result", "error", "signal")
"""The layout in ``init/obey.c``: words of 8 bytes, then the page's entries of pagemap; so too in ``edited/hands.c``."""
ENTRIES: Final = 256
SECONDS: Final = 20.0
FILLED: Final = {"holes": 2, "rights": 1, "thp": 3, "shmem": 3}
"""Plants whose pages were filled, and how many pages there are from one to the next."""


class Answer(NamedTuple):
    """What became of a command.

    Attributes:
        result: What it returned, or the word that was read.
        error: Its errno.
        signal: The signal it was ended by, 0 if by none.
    """

    result: int
    error: int
    signal: int


def filled(vaddr: int) -> int:
    """The word that ``fill`` in ``init/plant.c`` leaves at an address."""
    return vaddr ^ 0x5A5A5A5A00000000


class Control:
    """The page of commands.

    Args:
        guest: A guest that stands still.
        hand: Of which thread, where there are several.
    """

    def __init__(self, guest: Guest, hand: int = 0) -> None:
        self._guest, self._before = guest, 0
        vaddrs, words = guest.truth.pages()
        (word,) = words[vaddrs == np.uint64(guest.truth.control + hand * guest.truth.page)].tolist()
        offset = (word & FRAME) * guest.truth.page - guest.machine.architecture.base
        with guest.ram.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), guest.truth.page, offset=offset)
        if self._word("magic") != MAGIC:
            raise RuntimeError(f"the page at {offset:#x} in the image is not the page of commands")

    def close(self) -> None:
        self._memory.close()

    def read(self, vaddr: int) -> Answer:
        """Read a word."""
        return self._ask(READ, vaddr)

    def write(self, vaddr: int, word: int) -> Answer:
        """Write a word."""
        return self._ask(WRITE, vaddr, 8, word)

    def pagemap(self, vaddr: int, pages: int = 1) -> list[int]:
        """The pages' entries in pagemap."""
        if pages > ENTRIES:
            raise ValueError(f"{pages} pages: {ENTRIES} at once are the most")
        self._ask(PAGEMAP, vaddr, pages)
        at = 8 * len(WORDS)
        return list(struct.unpack_from(f"<{pages}Q", self._memory, at))

    def madvise(self, vaddr: int, length: int, advice: int) -> Answer:
        return self._ask(MADVISE, vaddr, length, advice)

    def mprotect(self, vaddr: int, length: int, protection: int) -> Answer:
        return self._ask(MPROTECT, vaddr, length, protection)

    def munmap(self, vaddr: int, length: int) -> Answer:
        return self._ask(MUNMAP, vaddr, length)

    def faults(self) -> int:
        """How many page faults the thread has taken."""
        return self._ask(FAULTS, 0).result

    def watch(self, vaddr: int) -> None:
        """Have the thread read a word again and again, while it waits for commands."""
        self._ask(WATCH, vaddr)

    def is_read_by_the_kernel(self, vaddr: int) -> bool:
        """Whether the kernel can read there when a system call is given the address."""
        return self._ask(PASS, vaddr).error != errno.EFAULT

    def end(self) -> None:
        """Have the program end; it does not answer."""
        self.give(END)

    def _ask(self, command: int, address: int, length: int = 0, argument: int = 0) -> Answer:
        """Give a command, and let the guest run until it is done."""
        self.give(command, address, length, argument)
        return self.answer()

    def give(self, command: int, address: int = 0, length: int = 0, argument: int = 0) -> None:
        """Give a command; the guest stands still."""
        self._before = self._word("done")
        for name, value in (("address", address), ("length", length), ("argument", argument), ("command", command)):
            struct.pack_into("<Q", self._memory, 8 * WORDS.index(name), value)

    def answer(self) -> Answer:
        """What becomes of the command that was given: the guest runs until it is done."""
        end = time.monotonic() + SECONDS
        with self._guest.running():
            while self._word("done") == self._before:
                if time.monotonic() > end:
                    command, address = self._word("command"), self._word("address")
                    raise TimeoutError(f"{self._guest.machine.name} does not obey command {command} at {address:#x}")
                time.sleep(0.001)
        return Answer(self._word("result"), self._word("error"), self._word("signal"))

    def _word(self, name: str) -> int:
        return int(struct.unpack_from("<Q", self._memory, 8 * WORDS.index(name))[0])
