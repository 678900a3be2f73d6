"""Linux kernels in a memory: where their page tables are, and their processes; no debug information is needed."""
