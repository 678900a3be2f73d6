"""Hardware: the CPU, RAM and its frames, the swap device."""
