"""Short words for the steps of written scenarios: places are pages of the arena, sizes are pages."""

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import At, File

PAGE = 4096
HUGE = 512
HUGETLB = abi.MAP_HUGETLB | abi.MAP_HUGE_2MB
R, W, X = abi.PROT_READ, abi.PROT_WRITE, abi.PROT_EXEC
NONE, RW, RWX = abi.PROT_NONE, R | W, R | W | X
FILES = (File("a", 24), File("b", 3), File("sealed", 8, writable=False))
DATA = b"\xc3pgwalk!"


def anon(page, pages, prot=RW, flags=0, **how):
    return do.Mmap(pages * PAGE, prot, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED | flags, At(page), **how)


def shared(page, pages, prot=RW, flags=0, **how):
    return do.Mmap(pages * PAGE, prot, abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED | flags, At(page), **how)


def private_file(page, pages, file="a", offset=0, prot=RW, flags=0, **how):
    flags |= abi.MAP_PRIVATE | abi.MAP_FIXED
    return do.Mmap(pages * PAGE, prot, flags, At(page), file, offset * PAGE, **how)


def shared_file(page, pages, file="a", offset=0, prot=RW, flags=0, **how):
    flags |= abi.MAP_SHARED | abi.MAP_FIXED
    return do.Mmap(pages * PAGE, prot, flags, At(page), file, offset * PAGE, **how)


def hugetlb(page, pages, prot=RW, flags=0, **how):
    return anon(page, pages, prot, HUGETLB | flags, **how)


def hugetlb_shared(page, pages, prot=RW, flags=0, **how):
    return shared(page, pages, prot, HUGETLB | flags, **how)


def huge(page=HUGE, pages=HUGE):
    """Anonymous memory that is advised to be huge, and written once: a huge page."""
    return anon(page, pages), advise(page, pages, abi.MADV_HUGEPAGE), write(page)


def unmap(page, pages, **how):
    return do.Munmap(At(page), pages * PAGE, **how)


def protect(page, pages, prot, **how):
    return do.Mprotect(At(page), pages * PAGE, prot, **how)


def advise(page, pages, advice, **how):
    return do.Madvise(At(page), pages * PAGE, advice, **how)


def guard(page, pages=1, **how):
    return advise(page, pages, abi.MADV_GUARD_INSTALL, **how)


def unguard(page, pages=1, **how):
    return advise(page, pages, abi.MADV_GUARD_REMOVE, **how)


def vector(advice, *ranges, **how):
    return do.ProcessMadvise(tuple((At(page), pages * PAGE) for page, pages in ranges), advice, **how)


def lock(page, pages, flags=0, **how):
    return do.Mlock(At(page), pages * PAGE, flags, **how)


def unlock(page, pages, **how):
    return do.Munlock(At(page), pages * PAGE, **how)


def resize(page, old, new, flags=0, **how):
    return do.Mremap(At(page), old * PAGE, new * PAGE, flags, **how)


def move(page, pages, to, new=None, flags=0, **how):
    flags |= abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    return do.Mremap(At(page), pages * PAGE, (pages if new is None else new) * PAGE, flags, At(to), **how)


def leave(page, pages, to, **how):
    """Move the pages, and leave the mapping."""
    return move(page, pages, to, flags=abi.MREMAP_DONTUNMAP, **how)


def sync(page, pages, flags, **how):
    return do.Msync(At(page), pages * PAGE, flags, **how)


def core(page, pages, **how):
    return do.Mincore(At(page), pages * PAGE, **how)


def read(page, size=8, byte=0, **how):
    return do.Read(At(page, byte), size, **how)


def write(page, data=DATA, byte=0, **how):
    return do.Write(At(page, byte), data, **how)


def execute(page, **how):
    return do.Execute(At(page), **how)


def kernel_read(page, size=8, byte=0, **how):
    return do.KernelRead(At(page, byte), size, **how)


def kernel_write(page, data=DATA, byte=0, **how):
    return do.KernelWrite(At(page, byte), data, **how)


def fork(child=1, **how):
    return do.Fork(child, **how)


def exit_(process):
    return do.Exit(process=process)


def punch(file, page, pages, **how):
    return do.PunchHole(file, page * PAGE, pages * PAGE, **how)


def truncate(file, size, **how):
    """To a size in bytes."""
    return do.Truncate(file, size, **how)


def pread(file, page, size=8, **how):
    """From the start of a page."""
    return do.Pread(file, page * PAGE, size, **how)


def pool(**how):
    return do.Pool(**how)


def titled(names, files=FILES):
    """The scenarios of a module: its upper-case tuples of steps, by a title made of the name."""
    return {
        name.lower().replace("_", " "): do.Scenario(value, files)
        for name, value in names.items()
        if name.isupper() and isinstance(value, tuple) and value and isinstance(value[0], do.Step)
    }
