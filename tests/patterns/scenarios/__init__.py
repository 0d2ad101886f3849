"""The scenarios that the suite of patterns runs, a module each; see `tests.patterns.suite`."""

NAMES = ["pipeline", "scatter_gather", "voting", "group_chat", "debate", "map_reduce"]
