"""Conformance: the running kernel and a simulated address space are asked the same questions."""
