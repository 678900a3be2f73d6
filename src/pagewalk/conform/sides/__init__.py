"""Sides of a comparison: the running kernel, the model; what each does with a scenario and what it shows then."""
