"""Tests of pagewalk.mm.calls."""
