"""A process whose first thread has ended: ``ended.py THREADS``. The others stay, until each is told to end by a line.

Writes one JSON line: the range of a piece of memory that is all touched. Ends with its standard input.
"""

import ctypes
import json
import mmap
import os
import sys
from threading import Thread

PAGE = 4096
SYS_EXIT = 60
libc = ctypes.CDLL(None)


def stay():
    """Wait for a line, then end this thread alone; at the end of the input, all."""
    if not os.read(0, 1):
        os._exit(0)
    libc.syscall(SYS_EXIT, 0)


def main():
    memory = mmap.mmap(-1, 16 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = b"\x5a" * len(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for _ in range(int(sys.argv[1])):
        Thread(target=stay).start()
    print(json.dumps([start, start + 16 * PAGE]), flush=True)
    libc.syscall(SYS_EXIT, 0)


if __name__ == "__main__":
    main()
