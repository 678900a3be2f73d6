"""QEMU's monitor: a machine stopped, continued, ended, and asked where an address leads."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Monitor", "connected"]


def connected(path: Path, seconds: float) -> socket.socket:
    """A connection to a unix socket that a starting program is about to make.

    Raises:
        TimeoutError: It does not.
    """
    end = time.monotonic() + seconds
    while True:
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(seconds)
        try:
            one.connect(str(path))
        except OSError:
            one.close()
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens at {path.name} after {seconds} s") from None
            time.sleep(0.02)
        else:
            return one


class Monitor:
    """A connection to QEMU's machine protocol.

    Args:
        path: Its socket.
        seconds: How long an answer may take.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._socket = connected(path, seconds)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.ask("qmp_capabilities")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """What a command returns; what happens meanwhile is passed over.

        Raises:
            RuntimeError: QEMU refuses.
            EOFError: QEMU has ended.
        """
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise EOFError(f"QEMU has ended before it answered {command}")

    def physical(self, vaddr: int) -> int | None:
        """Where the CPU finds an address, None if nowhere."""
        said = self.ask("human-monitor-command", **{"command-line": f"gva2gpa {vaddr:#x}"})
        found = re.match(r"gpa: (0x[0-9a-f]+|0)", said)
        return int(found[1], 16) if found else None

    def entries(self) -> list[tuple[int, int, str]]:
        """What the CPU's tables hold, on x86: each page's address, its frame, and letters of its entry's bits.

        With PAE, QEMU leaves bit 63 (XD) in the frame.
        """
        said = self.ask("human-monitor-command", **{"command-line": "info tlb"})
        found = re.findall(r"(\w+): (\w+) (\S+)", said)
        return [(int(at, 16), int(to, 16) & ~(1 << 63), bits) for at, to, bits in found]
