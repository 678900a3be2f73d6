"""Real machines: QEMU guests with distribution kernels, and what they say of their own pages.

How it works: ``machines`` is the table of guests; each has a kernel (``kernels``, fetched by ``packages``), runs the
program in ``init/`` (built into an ``initramfs``) and is started by ``boot``. The program plants things to look at and
says the ``truth`` about them; ``obey`` gives it commands. ``monitor`` and ``stub`` are QEMU's own two doors.
"""
