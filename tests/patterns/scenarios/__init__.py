"""The scenarios that the suite of patterns runs, a module each; see `tests.patterns.suite`."""

NAMES = ["blackboard", "hierarchy", "pipeline", "saga", "scatter_gather"]
