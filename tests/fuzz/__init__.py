"""Parsers against hostile files: ``python -m tests.fuzz NAME --inputs N``; a parser is a file in ``parsers/``."""
