"""Tests of pagewalk.mm.paging."""
