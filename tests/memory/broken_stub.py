"""A gdb stub that behaves until it does not: for what no real one does on demand."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pagewalk.memory.machines.packets import Packets, packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Answers = Callable[[bytes, int], bytes | None]

__all__ = ["BrokenStub"]

SANE = {b"qSupported": b"PacketSize=400", b"Qqemu.PhyMemMode:1": b"OK", b"qfThreadInfo": b"m1", b"qsThreadInfo": b"l"}


class BrokenStub:
    """A server for one client at a time, on a unix socket.

    Args:
        path: The socket.
        answers: What it sends, as bytes on the wire, to a question and its number among those for memory; None: it
            hangs up. Questions at the beginning are answered as by a stub that knows no monitor and no registers.
        once: Hang up after the first of these answers.
    """

    def __init__(self, path: Path, answers: Answers, *, once: bool = False) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._answers, self._once = answers, once
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        packets, number = Packets(), 0
        with client, suppress(OSError):  # a client that has had enough
            while data := client.recv(1 << 16):
                for question in packets.feed(data):
                    if question[:1] != b"m":
                        client.sendall(packed(SANE.get(question, b"")))
                        continue
                    answer = self._answers(question, number)
                    number += 1
                    if answer is None:
                        return
                    client.sendall(answer)
                    if self._once:
                        return
