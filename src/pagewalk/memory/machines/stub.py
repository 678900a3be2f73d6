"""A conversation with QEMU's gdb stub: questions in flight, what its monitor says, registers by name.

How it works. The stub answers one question after the other, so many may be under way at once: ``ask_each`` keeps a
window of them full. A conversation that went wrong once is over: what is under way can no longer be told apart, so each
later question fails at once, with the first reason, and nobody waits again.

Source: Debugging with GDB, appendix E (packets, E.4 general queries) and G (target descriptions); QEMU 7.2,
gdbstub/gdbstub.c: packets of 4,096 characters, hexadecimal alone (no ``x``), always acknowledged (no QStartNoAckMode).
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from pagewalk.doors import shown
from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory.machines.packets import Packets, packed
from pagewalk.memory.machines.wire import SECONDS, Wire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = ["Stub"]

_REMEDY: Final = "start QEMU with -gdb unix:PATH,server=on,wait=off, and let no other debugger be attached"
_WINDOW: Final = 128
"""Questions in flight: few enough for a socket's buffer, so that sending them never waits for what is not read yet."""
_LEAST, _MOST = 64, 1 << 14
"""Characters of a packet that is asked for, whatever the stub says it takes."""
_PARTS: Final = 1024
_DOCUMENTS: Final = 64
_TEXT: Final = 16 << 20
"""Answers that a document of a target's description takes, documents, and characters that the monitor says, at most."""
_CPUS: Final = 4096
_STOPPED: Final = re.compile(rb"[TS][0-9a-f]{2}")
"""A machine that stops is reported unasked."""
_ERROR: Final = re.compile(rb"E[0-9a-fA-F]{2}")
_MARK, _MARKED = b"qC", b"QC"
"""A question, and how its answer begins, as no other does."""
_LAST: Final = 2.0
"""Seconds that the last answer of a stub may take that has let one wait before."""
_PHYSICAL: Final = b"Qqemu.PhyMemMode:"
_ALIASES: Final = {"sctlr": "sctlr_el1"}
"""Registers that QEMU's description calls by a shorter name."""


class Stub:
    """A connection to the stub, which stops the machine.

    Args:
        address: Its socket: a path, or ``HOST:PORT``.
        seconds: How long each answer may take.

    Raises:
        OSError: Nobody answers there.
        ImageFormatError: What answers speaks another protocol.

    Attributes:
        most: Bytes of memory that one answer holds.
    """

    def __init__(self, address: str, seconds: float = SECONDS) -> None:
        self._wire = Wire(address, seconds, _REMEDY)
        self._packets, self._unread = Packets(), deque[bytes]()
        self._lock, self._owner, self._left = threading.Lock(), os.getpid(), False
        self._broken: OSError | ImageFormatError | None = None
        self._unacknowledged = 0
        try:
            size = re.search(rb"PacketSize=([0-9a-fA-F]{1,8})(?![0-9a-fA-F])", self.ask(b"qSupported"))
        except BaseException:
            self._wire.close()
            raise
        self.most = min(max(int(size[1], 16) if size else _LEAST, _LEAST), _MOST) // 2

    @property
    def address(self) -> str:
        """Where it is."""
        return self._wire.address

    def ask(self, question: bytes) -> bytes:
        """The answer to one question; empty where the stub does not know it.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is none, or what comes is none.
        """
        (answer,) = self.ask_each([question])
        return answer

    def ask_each(self, questions: Iterable[bytes]) -> list[bytes]:
        """The answer to each question, in order.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is none, or what comes is none.
        """
        with self._talking():
            return list(self._answers(questions))

    def read_each(self, parts: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each part of memory, an address and at most ``most`` bytes; None: not all of them are there.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
        """
        with self._talking():
            answers = self._answers(b"m%x,%x" % part for part in parts)
            return [self._memory(answer, size) for answer, (_, size) in zip(answers, parts, strict=True)]

    def _answers(self, questions: Iterable[bytes]) -> Iterator[bytes]:
        """The answers, while more questions are sent."""
        waiting, flying = iter(questions), 0
        while True:
            if flying <= _WINDOW // 2:
                more = list(islice(waiting, _WINDOW - flying))
                flying += len(more)
                if more:
                    self._send(more)
            if not flying:
                return
            yield self._answer()
            flying -= 1

    def _memory(self, answer: bytes, size: int) -> bytes | None:
        """The bytes that were asked for by ``m``; None: the stub does not have all of them.

        Raises:
            ImageFormatError: The answer is none.
        """
        if _ERROR.fullmatch(answer):
            return None
        data = _plain(answer)
        if len(data) > size:
            raise ImageFormatError(f"{self.address}: the gdb stub answers {len(data)} bytes where {size} are asked for")
        return data if len(data) == size else None

    def monitor(self, command: str) -> str | None:
        """What QEMU's monitor says to a command; None where the stub does not pass it on.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
        """
        said, left = [], _TEXT
        with self._talking():
            self._send([b"qRcmd," + command.encode().hex().encode()])
            while (answer := self._answer()) != b"OK":
                if not answer.startswith(b"O"):
                    return None  # empty, or an error
                text = _plain(answer[1:])
                left -= len(text) + 1
                if left < 0:
                    raise ImageFormatError(f"{self.address}: the monitor says more than {_TEXT} characters")
                said.append(text)
        return b"".join(said).decode("utf-8", "replace").replace("\r", "")

    def cpus(self, names: Collection[str]) -> tuple[dict[str, int], ...]:
        """The registers of some names that each CPU has.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
        """
        numbers = {name: number for name, number in self._numbers().items() if name in names}
        return tuple(self._registers(thread, numbers) for thread in self._threads()) if numbers else ()

    def be_physical(self) -> None:
        """Have addresses taken for physical ones from now on.

        Raises:
            UnsupportedError: The stub cannot.
            TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
        """
        if self.ask(_PHYSICAL + b"1") != b"OK":
            raise UnsupportedError(f"{self.address}: this stub shows no physical memory; QEMU's does, since 4.1")

    def leave(self, *, resume: bool) -> None:
        """Hang up: the machine goes on, or stands still. Leaving again does nothing."""
        if os.getpid() != self._owner:
            return  # a copy of the process: the machine is not its own
        with self._lock:
            if not self._left:
                with suppress(OSError, ImageFormatError):
                    self._take_leave(resume)
            self._left, self._broken = True, ConnectionResetError(f"{self.address} was closed: open it again")
            self._wire.close()

    def _take_leave(self, resume: bool) -> None:
        """Leave the stub as others expect it. Answers that are still under way are passed over.

        Whatever reaches a stub after ``D`` stops the machine again, an acknowledgement aside: nothing is sent after it.
        One that an earlier debugger has told of many processes wants to know which to let go.
        """
        if isinstance(self._broken, TimeoutError):
            self._wire.seconds = min(self._wire.seconds, _LAST)  # it has had its time
        self._send([_PHYSICAL + b"0", _MARK])
        for _ in range(2 * _WINDOW):
            if self._answer().startswith(_MARKED):
                break
        for question in (b"D", b"D;1") if resume else ():
            self._send([question])
            if self._answer() == b"OK":
                break

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """The one conversation at a time; what goes wrong in it ends all."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if os.getpid() != self._owner:
                raise ConnectionResetError(f"{self.address} was opened by another process: open it here as well")
            try:
                yield
            except (OSError, ImageFormatError) as error:
                self._broken = error
                raise
            except BaseException:
                self._broken = ConnectionResetError(f"{self.address}: a question was broken off: open it again")
                raise

    def _send(self, questions: list[bytes]) -> None:
        """Send questions, and acknowledge what has been answered."""
        self._wire.send(b"+" * self._unacknowledged + b"".join(map(packed, questions)))
        self._unacknowledged = 0

    def _answer(self) -> bytes:
        """The next answer."""
        limit = self._wire.limit()
        while True:
            while self._unread:
                self._unacknowledged += 1
                answer = self._unread.popleft()
                if answer[:1] in (b"W", b"X"):
                    raise ConnectionResetError(f"{self.address}: the machine has ended")
                if not _STOPPED.match(answer):
                    return answer
            data = self._wire.receive(limit)
            try:
                self._unread.extend(self._packets.feed(data))
            except ImageFormatError as error:
                raise ImageFormatError(f"{self.address} is no gdb stub: {error}") from None

    def _threads(self) -> list[bytes]:
        """What the stub calls its CPUs."""
        found: list[bytes] = []
        answer = self.ask(b"qfThreadInfo")
        while answer.startswith(b"m") and len(answer) > 1 and len(found) < _CPUS:
            found += answer[1:].split(b",")
            answer = self.ask(b"qsThreadInfo")
        return found or [b"0"]

    def _registers(self, thread: bytes, numbers: dict[str, int]) -> dict[str, int]:
        """Registers of one CPU; what it does not show is left out."""
        self.ask(b"Hg" + thread)
        answers = self.ask_each([b"p%x" % number for number in numbers.values()])
        known = {name: answer for name, answer in zip(numbers, answers, strict=True) if _is_word(answer)}
        return {name: int.from_bytes(_plain(answer), "little") for name, answer in known.items()}

    def _numbers(self) -> dict[str, int]:
        """Each register's number, by its name in lower case."""
        found: dict[str, int] = {}
        number = 0
        target = self._document("target.xml")
        names = re.findall(r'<xi:include href="([^"<>:]{1,80})"', target)[:_DOCUMENTS]
        for text in (target, *map(self._document, names)):
            for register in re.findall(r"<reg\s[^>]{1,400}>", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)):
                said = dict(re.findall(r'(\w+)="([^"]*)"', register))
                given = said.get("regnum", "")
                number = int(given) if re.fullmatch("[0-9]{1,6}", given, re.ASCII) else number
                name = said.get("name", "").lower()
                found.setdefault(_ALIASES.get(name, name), number)
                number += 1
        return found

    def _document(self, name: str) -> str:
        """A part of the target's description; empty where there is none."""
        text = b""
        for _ in range(_PARTS):
            answer = self.ask(b"qXfer:features:read:%b:%x,%x" % (name.encode(), len(text), self.most))
            if answer[:1] not in (b"m", b"l"):
                return ""
            text += answer[1:]
            if answer[:1] == b"l":
                return text.decode("utf-8", "replace")
        raise ImageFormatError(
            f"{self.address}: the target's description has no end: {name} has more than {_PARTS} parts"
        )


def _is_word(answer: bytes) -> bool:
    """Whether an answer is a register of 64 bits at most: not an error, nor x's, which say that it is unknown."""
    return not _ERROR.fullmatch(answer) and bool(re.fullmatch(rb"(?:[0-9a-fA-F]{2}){1,8}", answer))


def _plain(answer: bytes) -> bytes:
    """Bytes that are written in hexadecimal.

    Raises:
        ImageFormatError: They are not.
    """
    try:
        data = bytes.fromhex(answer.decode("ascii"))
    except ValueError:
        data = None
    if data is None or 2 * len(data) != len(answer):  # white space between digits is none of the protocol's
        raise ImageFormatError(f"the gdb stub answers {shown(answer[:32])} where hexadecimal digits are expected")
    return data
