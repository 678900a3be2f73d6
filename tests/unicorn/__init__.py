"""Unicorn as a second MMU: a processor's own page walk, asked who may do what on tables full of random rights."""
