"""Machines that QEMU runs: their memory and their CPUs, through its machine protocol or its gdb stub."""
