"""Tests of pagewalk.mm.state."""
