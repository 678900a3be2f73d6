"""Looks at itself from another PID namespace, with the /proc of the one it came from. Run as a script, by root.

Writes one JSON line with what it found.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PAGE = 4096
CLONE_NEWPID = 0x2000_0000


def look():
    """In the new namespace, where this process is number 1: /proc/1 is a stranger."""
    import pagewalk as pw
    from pagewalk.live import madvise, read_pagemap, scan

    memory = mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: 4 * PAGE] = b"\x5a" * 4 * PAGE
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    madvise(start + 6 * PAGE, PAGE, pw.MADV_GUARD_INSTALL)
    space = pw.capture()
    rows = pw.mappings(space, start, start + 8 * PAGE, coalesce=False)
    there = int(str(Path("/proc/self").readlink()))
    command = [sys.executable, "-c", "from pagewalk.cli import main; main()", "live"]
    gone = ""
    try:
        pw.capture((1 << 22) + 1)
    except pw.ProcessError as error:
        gone = str(error)
    return {
        "numbers": [os.getpid(), there],
        "kinds": rows["kind"].tolist(),
        "scan": [(int(low - start), int(high - start)) for low, high, _ in scan(0, start, start + 8 * PAGE).tolist()],
        "pagemap": (read_pagemap(0, start, start + 8 * PAGE) >> np.uint64(63)).tolist(),
        "notes": list(space.notes),
        "same": pw.capture(there).pid == there and bool(pw.mappings(pw.capture(there), start, start + PAGE).size),
        "gone": gone,
        "caller": subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[:1],
    }


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWPID):
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(look()), flush=True)
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
