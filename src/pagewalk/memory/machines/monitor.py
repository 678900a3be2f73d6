"""A conversation with QEMU's machine protocol: lines of JSON over a unix socket.

How it works. QEMU greets; commands carry a number, and answers carry it back; events come in between and are passed
over. What goes wrong once ends the conversation. It is written here rather than taken from qemu.qmp because that is an
event loop of its own: it cannot be waited for where one runs already (a notebook), and this needs four commands.

Source: QEMU 7.2, docs/interop/qmp-spec.txt.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import shortened, shown
from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory.machines.wire import SECONDS, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Monitor", "Refused"]

_REMEDY: Final = "start QEMU with -qmp unix:PATH,server=on,wait=off, and let no other client be connected to it"
_LONGEST: Final = 16 << 20
"""Bytes of a line that are waited for at most."""


class Refused(UnsupportedError):
    """A command that QEMU refuses."""


class Monitor:
    """A connection to QEMU's machine protocol.

    Args:
        path: Its socket.
        seconds: How long each answer may take.

    Raises:
        OSError: Nobody answers there.
        ImageFormatError: What answers speaks another protocol.

    Attributes:
        path, seconds: As given.
    """

    def __init__(self, path: str, seconds: float = SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self._wire = Wire(path, seconds, _REMEDY)
        self._rest, self._count = b"", 0
        self._lock, self._owner = threading.Lock(), os.getpid()
        self._broken: BaseException | None = None
        try:
            self._begin()
        except BaseException:
            self._wire.close()
            raise

    def _begin(self) -> None:
        """Be greeted, and answer.

        Raises:
            TimeoutError, ConnectionError, ImageFormatError: There is no greeting.
        """
        if not isinstance(self._line(self._wire.limit()).get("QMP"), dict):
            raise ImageFormatError(f"{self.path} is no machine protocol of QEMU: it does not greet")
        self.ask("qmp_capabilities")

    def ask(self, command: str, files: Sequence[int] = (), **arguments: Any) -> Any:
        """What a command returns.

        Args:
            command: Its name.
            files: File descriptors that go with it.
            arguments: Its arguments, with ``_`` for ``-``.

        Raises:
            Refused: QEMU does not do it; the message says why.
            TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
        """
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if os.getpid() != self._owner:
                raise ConnectionResetError(f"{self.path} was opened by another process: open it here as well")
            try:
                answer = self._asked(command, arguments, files)
            except BaseException as error:
                ends = isinstance(error, OSError | ImageFormatError)
                why = f"{self.path}: a question was broken off: open it again"
                self._broken = error if ends else ConnectionResetError(why)
                raise
        if "return" not in answer:
            raise Refused(f"{self.path}: QEMU refuses {command}: {shortened(_why(answer), 200)}")
        return answer["return"]

    def human(self, line: str) -> str:
        """What the human monitor says to a line.

        Raises:
            Refused, TimeoutError, ConnectionError, ImageFormatError: As ``ask``.
        """
        said = self.ask("human-monitor-command", command_line=line)
        return said.replace("\r", "") if isinstance(said, str) else ""

    def close(self) -> None:
        """Hang up. Closing again does nothing."""
        self._broken = self._broken or ConnectionResetError(f"{self.path} was closed: open it again")
        self._wire.close()

    def _asked(self, command: str, arguments: dict[str, Any], files: Sequence[int]) -> dict[str, Any]:
        """The answer to a command."""
        number, self._count = self._count, self._count + 1
        words = {name.replace("_", "-"): value for name, value in arguments.items()}
        line = json.dumps({"execute": command, "arguments": words, "id": number}).encode() + b"\n"
        if files:
            self._wire.send_files(line, files)
        else:
            self._wire.send(line)
        limit = self._wire.limit()
        while "event" in (answer := self._line(limit)):
            pass
        if answer.get("id") != number or not {"return", "error"} & answer.keys():
            raise ImageFormatError(f"{self.path} answers {shown(answer)} to command {number}")
        return answer

    def _line(self, limit: float) -> dict[str, Any]:
        """The next line, as an object."""
        parts, size = [self._rest], len(self._rest)
        while b"\n" not in parts[-1]:
            if size > _LONGEST:
                raise ImageFormatError(f"{self.path} sends a line of more than {_LONGEST} bytes")
            parts.append(self._wire.receive(limit))
            size += len(parts[-1])
        text, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ImageFormatError(f"{self.path} is no machine protocol of QEMU: it says {shown(text[:80])}")
        return found


def _why(answer: dict[str, Any]) -> str:
    """Why a command was refused."""
    error = answer.get("error")
    return str(error.get("desc", error)) if isinstance(error, dict) else str(error)
