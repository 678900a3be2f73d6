"""A process to look at: makes memory of every sort, says where, and answers with its own PAGEMAP_SCAN.

Run as a script; knows nothing of pagewalk. Writes one JSON line ``{name: [start, end]}``; then obeys the lines that it
reads, each a command of ``COMMANDS``, and answers each with a JSON line. Ends with its standard input.
"""

import ctypes
import errno
import json
import mmap
import os
import struct
import sys
import tempfile
from fcntl import ioctl
from pathlib import Path

PAGE, HUGE = 4096, 1 << 21
RW = mmap.PROT_READ | mmap.PROT_WRITE
PRIVATE_ANON = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
SHARED_ANON = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
NORESERVE, HUGETLB = 0x4000, 0x40000 | 21 << 26  # of 2 MiB, whatever the machine's default is
HUGEPAGE, COLLAPSE, GUARD_INSTALL, WIPEONFORK = 14, 25, 102, 18
PR_SET_DUMPABLE = 4

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for name in ("madvise", "mprotect"):
    getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

areas: dict[str, list[int]] = {}


def check(result):
    if result in (-1, (1 << 64) - 1):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def area(name, size, prot=RW, flags=PRIVATE_ANON, fd=-1, align=PAGE):
    """Map something, alone: unmapped pages on both sides keep it from merging with its neighbours."""
    room = check(libc.mmap(None, size + align + 2 * PAGE, 0, PRIVATE_ANON | NORESERVE, -1, 0))
    start = (room + PAGE + align - 1) // align * align
    check(libc.munmap(ctypes.c_void_p(room), ctypes.c_size_t(size + align + 2 * PAGE)))
    start = check(libc.mmap(start, size, prot, flags | 0x100000, fd, 0))  # MAP_FIXED_NOREPLACE
    areas[name] = [start, start + size]
    return start


def write(addr, pages=1, step=PAGE):
    for at in range(pages):
        ctypes.memmove(addr + at * step, b"\x5a", 1)


def read(addr, pages=1, step=PAGE):
    for at in range(pages):
        ctypes.string_at(addr + at * step, 1)


def advise(addr, length, advice):
    check(libc.madvise(addr, length, advice))


def small():
    start = area("guards", 16 * PAGE)
    write(start, 16)
    advise(start + 4 * PAGE, 4 * PAGE, GUARD_INSTALL)
    advise(start + 12 * PAGE, PAGE, GUARD_INSTALL)
    write(area("holes", 64 * PAGE), 10, 7 * PAGE)
    read(area("zero", 4 * PAGE), 3)
    write(area("written", 2 * PAGE), 2)
    start = area("none", 6 * PAGE)
    write(start, 4)
    check(libc.mprotect(start, 6 * PAGE, 0))
    start = area("split", 10 * PAGE)
    write(start, 9)
    check(libc.mprotect(start + 3 * PAGE, 4 * PAGE, mmap.PROT_READ))
    write(area("write_only", 2 * PAGE, mmap.PROT_WRITE))
    write(area("locked", 2 * PAGE))
    check(libc.mlock(areas["locked"][0], 2 * PAGE))
    write(area("wiped", 2 * PAGE))
    advise(areas["wiped"][0], 2 * PAGE, WIPEONFORK)
    write(area("shared", 5 * PAGE, flags=SHARED_ANON), 3)
    area("reserved", 64 << 30, flags=PRIVATE_ANON | NORESERVE)
    area("executable", 2 * PAGE, mmap.PROT_READ | mmap.PROT_EXEC)


def files():
    with tempfile.TemporaryFile() as file:
        file.write(bytes(8 * PAGE))
        file.flush()
        start = area("file_private", 8 * PAGE, flags=mmap.MAP_PRIVATE, fd=file.fileno())
        read(start, 5)
        write(start + PAGE, 2)
        start = area("file_shared", 8 * PAGE, flags=mmap.MAP_SHARED, fd=file.fileno())
        write(start, 3)
        advise(start + 6 * PAGE, 2 * PAGE, GUARD_INSTALL)


def huge():
    start = area("thp", 4 * HUGE, align=HUGE)
    advise(start, 4 * HUGE, HUGEPAGE)
    write(start, 3, HUGE)
    advise(start + 2 * HUGE + 7 * PAGE, PAGE, GUARD_INSTALL)
    start = area("thp_none", HUGE, align=HUGE)
    advise(start, HUGE, HUGEPAGE)
    write(start)
    check(libc.mprotect(start, HUGE, 0))
    start = area("thp_zero", HUGE, align=HUGE)
    advise(start, HUGE, HUGEPAGE)
    read(start)
    start = area("collapsed", HUGE, align=HUGE)
    write(start, 512)
    advise(start, HUGE, COLLAPSE)


def hugetlb():
    try:
        start = area("hugetlb", 3 * HUGE, flags=PRIVATE_ANON | HUGETLB, align=HUGE)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return
    write(start, 2, HUGE)


def state_of(pid):
    """What a process does: S, it waits."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def forked():
    """Pages shared with a child that lives as long as this process."""
    write(area("forked", 4 * PAGE), 4)
    parent, child = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(child)
        os.read(parent, 1)  # ends when the parent does
        os._exit(0)
    os.close(parent)
    while state_of(pid) != "S":  # until it waits, it writes to pages that both have
        os.sched_yield()
    write(areas["forked"][0], 1)


def userfault():
    """userfaultfd: write protection on pages and, as markers, where none are; poison where none are. Root only."""
    fd = libc.syscall(323, 0)
    if fd < 0:
        return
    poison, wp_unpopulated, pagefault_wp = 1 << 14, 1 << 13, 1 << 0
    ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, poison | wp_unpopulated | pagefault_wp, 0))  # UFFDIO_API
    start = area("uffd_wp", 6 * PAGE)
    write(start, 3)
    ioctl(fd, 0xC020AA00, struct.pack("QQQQ", start, 6 * PAGE, 2, 0))  # UFFDIO_REGISTER, mode WP
    ioctl(fd, 0xC018AA06, struct.pack("QQQ", start + PAGE, 4 * PAGE, 1))  # UFFDIO_WRITEPROTECT
    start = area("poison", 4 * PAGE)
    write(start)
    ioctl(fd, 0xC020AA00, struct.pack("QQQQ", start, 4 * PAGE, 2, 0))
    ioctl(fd, 0xC020AA08, struct.pack("QQQQ", start + PAGE, 2 * PAGE, 0, 0))  # UFFDIO_POISON


def scan(start, end):
    """PAGEMAP_SCAN with every category, of whatever is there."""
    out = []
    vector = (ctypes.c_uint64 * (3 * 1024))()
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        while start < end:
            fields = [96, 0, start, end, 0, ctypes.addressof(vector), 1024, 0, 0, 0, 0x18, 0x1FF]
            argument = bytearray(struct.pack("12Q", *fields))
            count = ioctl(pagemap, 0xC0606610, argument)
            out += [list(vector[3 * at : 3 * at + 3]) for at in range(count)]
            start = struct.unpack_from("12Q", argument)[4]
    return out


def scan_all():
    return [region for start, end in areas.values() for region in scan(start, end)]


def unmap(name):
    start, end = areas[name]
    check(libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(end - start)))


def guard(name):
    """One guard page in the middle of an area."""
    advise(sum(areas[name]) // 2, PAGE, GUARD_INSTALL)


def replace(name):
    """Another mapping in an area's place: a file's."""
    start, end = areas[name]
    with Path(sys.executable).open("rb") as file:
        check(libc.mmap(start, end - start, RW, mmap.MAP_PRIVATE | 0x10, file.fileno(), 0))  # MAP_FIXED
    read(start, (end - start) // PAGE)


def restore(name):
    """An area as it was at first, but empty."""
    start, end = areas[name]
    check(libc.mmap(start, end - start, RW, PRIVATE_ANON | 0x10, -1, 0))


def named(folder, *names):
    """Map files with these names, given in hex."""
    found = []
    for each in names:
        path = Path(folder).joinpath(os.fsdecode(bytes.fromhex(each)))
        path.write_bytes(bytes(PAGE))
        with path.open("rb") as file:
            start = check(libc.mmap(None, PAGE, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0))
        found.append(start)
    return found


COMMANDS = {"scan": scan_all, "unmap": unmap, "guard": guard, "replace": replace, "restore": restore, "named": named}


def main():
    user = int(sys.argv[1])
    if user != os.getuid():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
    for make in (small, files, huge, hugetlb, forked, userfault):
        make()
    print(json.dumps(areas), flush=True)
    for line in iter(sys.stdin.readline, ""):
        command, *name = line.split()
        print(json.dumps(COMMANDS[command](*name)), flush=True)


if __name__ == "__main__":
    main()
