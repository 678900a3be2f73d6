"""A connection to a program that serves a machine's memory: every wait has a limit, and every end is an ``OSError``."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pagewalk.doors import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SECONDS", "Wire", "absolute", "told"]

SECONDS: Final = 10.0
"""How long an answer may take."""
_PORT: Final = re.compile(r"(?P<host>[^/]*):(?P<port>[0-9]{1,5})", re.ASCII)
_BLOCK: Final = 1 << 18
_FAMILY: Final = getattr(socket, "AF_UNIX", None)
"""Windows' Python has none."""


class Wire:
    """A stream of bytes from and to a unix socket, or a TCP port.

    Args:
        address: A path, or ``HOST:PORT``; ``:PORT`` is of this machine. What contains a slash is a path.
        seconds: How long each wait may last.
        remedy: What to do where nobody answers, for messages.

    Raises:
        OSError: Nobody listens there, or it may not be connected to.
    """

    def __init__(self, address: str, seconds: float, remedy: str) -> None:
        self.address = address
        self.seconds = seconds
        self._remedy, self._heard = remedy, False
        try:
            self._socket = _connected(address, seconds)
        except (OSError, UnicodeError) as error:  # a host's name may be no name at all
            code = getattr(error, "errno", None) or errno.EINVAL
            why = getattr(error, "strerror", None) or str(error)
            raise self._error(code, f"{why}: {remedy}") from None

    def send(self, data: bytes) -> None:
        """Send all of some bytes.

        Raises:
            TimeoutError, ConnectionError: They are not taken.
        """
        self._socket.settimeout(self.seconds)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._ended(error) from None

    def send_files(self, data: bytes, files: Sequence[int]) -> None:
        """Send bytes, and file descriptors with them, over a unix socket.

        Raises:
            TimeoutError, ConnectionError: They are not taken.
        """
        self._socket.settimeout(self.seconds)
        try:
            sent = socket.send_fds(self._socket, [data], list(files))
            self._socket.sendall(data[sent:])
        except OSError as error:
            raise self._ended(error) from None

    def limit(self) -> float:
        """When a wait that begins now ends, as ``receive`` takes it."""
        return time.monotonic() + self.seconds

    def receive(self, limit: float) -> bytes:
        """The next bytes, at least one.

        Raises:
            TimeoutError: There are none until then.
            ConnectionError: The other side has hung up.
        """
        left = limit - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_BLOCK)
        except OSError as error:
            raise self._ended(error) from None
        if not data:
            raise self._ended(ConnectionResetError())
        self._heard = True
        return data

    def close(self) -> None:
        """Hang up. Closing again does nothing."""
        self._socket.close()

    def _ended(self, error: OSError) -> OSError:
        """The error for a wait that came to nothing."""
        if isinstance(error, TimeoutError):
            remedy = "QEMU is stuck, or was stopped itself" if self._heard else self._remedy
            return self._error(errno.ETIMEDOUT, f"no answer within {self.seconds:g} s: {remedy}")
        if error.errno in (None, errno.ECONNRESET, errno.EPIPE, errno.EBADF):
            return self._error(errno.ECONNRESET, "it hung up: if the machine has not ended, open it again")
        return self._error(error.errno or errno.EIO, str(error.strerror))

    def _error(self, code: int, why: str) -> OSError:
        """An error that names the address; ``OSError`` makes it the class of its code."""
        return OSError(code, why, shortened(self.address))


def _connected(address: str, seconds: float) -> socket.socket:
    """A connection.

    Raises:
        OSError: There is none to be had.
    """
    match = _PORT.fullmatch(address)
    if match is not None and not os.path.lexists(address):
        host = match["host"].removeprefix("[").removesuffix("]") or "localhost"
        return socket.create_connection((host, int(match["port"])), seconds)
    if _FAMILY is None:
        raise OSError(errno.EAFNOSUPPORT, "this system's Python knows no unix sockets")
    one = socket.socket(_FAMILY)
    try:
        one.settimeout(seconds)
        one.connect(address)
    except BaseException:
        one.close()
        raise
    return one


def absolute(address: str) -> str:
    """An address as it is from any folder."""
    return address if _PORT.fullmatch(address) and not os.path.lexists(address) else str(Path(address).absolute())


def told(error: Exception) -> str:
    """An error of a conversation, for a message that says what was asked for."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
