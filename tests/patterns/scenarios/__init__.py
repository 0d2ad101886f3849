"""The scenarios that the suite of patterns runs, a module each; see `tests.patterns.suite`."""

NAMES = ["auction_english", "auction_vickrey", "pipeline", "scatter_gather"]
