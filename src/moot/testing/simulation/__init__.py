"""Simulation: a whole system on a virtual clock, in an order that a seed picks, with faults.

It may import everything but patterns, teams and the command. Read `simulate` first.
"""

__all__: list[str] = []
