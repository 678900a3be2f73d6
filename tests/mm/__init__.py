"""Tests of the simulated address space."""
