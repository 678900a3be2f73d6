"""Tests of pagewalk.mm.hardware."""
