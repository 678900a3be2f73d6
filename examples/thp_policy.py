"""An experiment: what does the policy for huge pages cost, and whom does it serve?

Two programs map 64 MiB each. One touches a page in each 2 MiB, the other every page. For each policy, the machine says
how much memory is resident, and how much of it is page tables.

    ./dev run python examples/thp_policy.py
"""

import pagewalk as pw

PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20
HUGE = 2 * MIB
SIZE = 64 * MIB
FLAGS = pw.MAP_PRIVATE | pw.MAP_ANONYMOUS | pw.MAP_FIXED
START = 0x7F00_0000_0000


def sparse(mm):
    """A page here and there."""
    for vaddr in range(START, START + SIZE, HUGE):
        mm.write(vaddr, b"a page")


def dense(mm):
    """All of it."""
    mm.touch(START, SIZE)


def measure(policy, program, *, advised):
    """Bytes resident and bytes of page tables after a program has run under a policy."""
    machine = pw.Machine(ram=96 * MIB, thp=policy)
    mm = machine.mm()
    mm.mmap(SIZE, pw.PROT_READ | pw.PROT_WRITE, FLAGS, addr=START)
    if advised:
        mm.madvise(START, SIZE, pw.MADV_HUGEPAGE)
    program(mm)
    return mm.smaps()["Rss"], machine.usage()["table"]


def main():
    print(f"{'policy':<22} {'program':<8} {'resident':>10} {'page tables':>12}")
    results = {}
    for policy, advised in (("never", False), ("madvise", False), ("madvise", True), ("always", False)):
        label = f"{policy}, advised" if advised else policy
        for program in (sparse, dense):
            resident, tables = results[label, program] = measure(policy, program, advised=advised)
            print(f"{label:<22} {program.__name__:<8} {resident / MIB:>6.1f} MiB {tables // KIB:>8} KiB")
    # A huge page comes whole: the sparse program pays for every 2 MiB that it touches a page of.
    assert results["never", sparse][0] == SIZE // HUGE * PAGE
    assert results["always", sparse][0] == results["always", dense][0] == SIZE
    # Its table is not saved: one is set aside for each huge page, in case it must be split (as the kernel does).
    assert results["always", dense][1] == results["never", dense][1]
    # The policy "madvise" is "never" for those who do not ask, and "always" for those who do.
    assert results["madvise", sparse] == results["never", sparse]
    assert results["madvise, advised", dense] == results["always", dense]


if __name__ == "__main__":
    main()
