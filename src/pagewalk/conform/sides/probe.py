"""Accesses by the CPU whose SIGSEGV or SIGBUS is caught and told, without a C compiler: 253 bytes of x86-64 code.

How it works: three probe functions note the stack pointer in a small data area (``armed``) and make the access, or a
system call that may end with a signal. When it faults, the handler, seeing ``armed``, writes down signal, ``si_code``
and ``si_addr`` and changes the saved registers in the ``ucontext`` so that the probe returns at once. A fault outside a
probe ends the process: status 128 + signal. The data area: 0 armed (the stack pointer, 0 outside a probe), 8 signo,
12 si_code, 16 si_addr, 24 traps, 32 what a call returned, 64 scratch.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
from ctypes import c_int, c_size_t, c_void_p

from pagewalk.abi import SA_NODEFER, SA_SIGINFO
from pagewalk.abi.syscalls import MACHINE, MACHINE_NAME
from pagewalk.conform.scenarios.target import FaultError
from pagewalk.errors import UnsupportedError

__all__ = ["Probe", "require_machine"]

_LISTING = """
copy:                                    ; (rdi to, rsi from, rdx bytes) -> eax: 0, or the signal
    48 b8 DATA                           mov rax, DATA
    c7 40 08 00 00 00 00                 mov dword [rax+8], 0       ; signo
    48 89 20                             mov [rax], rsp             ; armed
    48 89 d1                             mov rcx, rdx
    f3 a4                                rep movsb
    eb 2a                                jmp leave
execute:                                 ; (rdi target): one instruction there, under the trap flag
    48 b8 DATA                           mov rax, DATA
    c7 40 08 00 00 00 00                 mov dword [rax+8], 0       ; signo
    c7 40 18 00 00 00 00                 mov dword [rax+24], 0      ; traps
    48 89 20                             mov [rax], rsp             ; armed
    9c                                   pushfq
    81 0c 24 00 01 00 00                 or dword [rsp], 0x100      ; TF
    48 8d 40 40                          lea rax, [rax+64]          ; what 00 00, add [rax], al, writes to
    9d                                   popfq
    ff e7                                jmp rdi                    ; traps once after this, once after the target
leave:
    48 b8 DATA                           mov rax, DATA
    48 c7 00 00 00 00 00                 mov qword [rax], 0         ; armed
    8b 40 08                             mov eax, [rax+8]           ; signo
    c3                                   ret
handler:                                 ; (edi signo, rsi siginfo, rdx ucontext)
    48 b8 DATA                           mov rax, DATA
    48 8b 08                             mov rcx, [rax]             ; armed
    48 85 c9                             test rcx, rcx
    74 44                                jz die
    83 ff 05                             cmp edi, 5                 ; SIGTRAP
    75 0c                                jne caught
    ff 40 18                             inc dword [rax+24]         ; traps
    83 78 18 02                          cmp dword [rax+24], 2
    73 01                                jae stepped
    c3                                   ret
stepped:
    31 ff                                xor edi, edi
caught:
    89 78 08                             mov [rax+8], edi
    44 8b 46 08                          mov r8d, [rsi+8]           ; si_code
    44 89 40 0c                          mov [rax+12], r8d
    4c 8b 46 10                          mov r8, [rsi+16]           ; si_addr
    4c 89 40 10                          mov [rax+16], r8
    48 89 8a a0 00 00 00                 mov [rdx+160], rcx         ; gregs RSP
    4c 8d 05 a7 ff ff ff                 lea r8, [rip+leave]
    4c 89 82 a8 00 00 00                 mov [rdx+168], r8          ; gregs RIP
    81 a2 b0 00 00 00 ff fe ff ff        and dword [rdx+176], ~0x100 ; gregs EFL: TF off
    c3                                   ret
die:
    81 cf 80 00 00 00                    or edi, 0x80
    b8 e7 00 00 00                       mov eax, 231               ; exit_group
    0f 05                                syscall
call:                                    ; (edi number, rsi, rdx, rcx, r8, r9 arguments) -> eax: 0, or the signal
    48 b8 DATA                           mov rax, DATA
    c7 40 08 00 00 00 00                 mov dword [rax+8], 0       ; signo
    48 89 20                             mov [rax], rsp             ; armed
    89 f8                                mov eax, edi
    48 89 f7                             mov rdi, rsi
    48 89 d6                             mov rsi, rdx
    48 89 ca                             mov rdx, rcx
    4d 89 c2                             mov r10, r8
    4d 89 c8                             mov r8, r9
    0f 05                                syscall
    48 b9 DATA                           mov rcx, DATA
    48 89 41 20                          mov [rcx+32], rax          ; what it returned
    48 c7 01 00 00 00 00                 mov qword [rcx], 0         ; armed
    8b 41 08                             mov eax, [rcx+8]           ; signo
    c3                                   ret
"""
_COPY, _EXECUTE, _HANDLER, _CALL = 0x00, 0x1B, 0x5A, 0xBD


class _Data(ctypes.Structure):
    _fields_ = (
        ("armed", c_void_p),
        ("signo", c_int),
        ("code", c_int),
        ("addr", c_void_p),
        ("traps", c_void_p),
        ("result", ctypes.c_long),
        ("rest", c_void_p * 11),
    )


class _SigAction(ctypes.Structure):
    """The C library's ``struct sigaction``."""

    _fields_ = (("handler", c_void_p), ("mask", ctypes.c_ulong * 16), ("flags", c_int), ("restorer", c_void_p))


def require_machine() -> None:
    """Refuse a machine that the probes cannot run on.

    Raises:
        UnsupportedError: It is not one that the listing is for, whose system calls are known by number.
    """
    if (platform.system(), platform.machine()) != MACHINE:
        raise UnsupportedError(f"asking the running kernel needs {MACHINE_NAME}, this is {platform.platform()}")


def _assemble(data: int) -> bytes:
    """The bytes of the listing: the hexadecimal pairs that begin a line."""
    code = bytearray()
    for line in _LISTING.splitlines():
        digits = line[4:41].replace("DATA", data.to_bytes(8, "little").hex())
        if line.startswith("    "):
            code += bytes.fromhex(digits)
    return bytes(code)


class Probe:
    """CPU accesses in this process. Installs handlers for SIGSEGV, SIGBUS and SIGTRAP.

    Raises:
        UnsupportedError: Not x86-64 Linux.
    """

    def __init__(self) -> None:
        require_machine()
        self._data = _Data()
        flags, prot = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._code = mmap.mmap(-1, 4096, flags, prot)  # private: a process that a scenario damages is the only one
        self._code.write(_assemble(ctypes.addressof(self._data)))
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._copy = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)(base + _COPY)
        self._execute = ctypes.PYFUNCTYPE(c_int, c_void_p)(base + _EXECUTE)
        self._call = ctypes.PYFUNCTYPE(c_int, c_int, *(ctypes.c_ulong,) * 5)(base + _CALL)
        for signo in (signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP):
            _install(signo, base + _HANDLER)

    def read(self, addr: int, size: int) -> bytes:
        """Read bytes, lowest first.

        Raises:
            FaultError: The CPU may not.
        """
        into = ctypes.create_string_buffer(size)
        self._check(self._copy(ctypes.addressof(into), addr, size))
        return into.raw

    def write(self, addr: int, data: bytes) -> None:
        """Write bytes, lowest first: those before a fault are written.

        Raises:
            FaultError: The CPU may not.
        """
        self._check(self._copy(addr, ctypes.cast(ctypes.c_char_p(data), c_void_p), len(data)))

    def execute(self, addr: int) -> None:
        """Run the one instruction at an address; it must be ``ret`` or ``add [rax], al`` (zeros).

        Raises:
            FaultError: The CPU may not.
        """
        self._check(self._execute(addr))

    def call(self, number: int, *args: int) -> int:
        """Make a system call of five arguments at most; returns what it returns.

        Raises:
            FaultError: It ended with a signal, whatever it returned.
            OSError: It failed.
        """
        self._check(self._call(number, *args, *(0,) * (5 - len(args))))
        if self._data.result < 0:
            code = -self._data.result
            raise OSError(code, os.strerror(code))
        return int(self._data.result)

    def _check(self, signo: int) -> None:
        if signo:
            raise FaultError(signo, self._data.addr or 0, self._data.code)


def _install(signo: int, handler: int) -> None:
    action = _SigAction(handler=handler, flags=SA_SIGINFO | SA_NODEFER)
    if ctypes.CDLL(None).sigaction(signo, ctypes.byref(action), None):
        raise OSError(f"sigaction({signo}) failed")
