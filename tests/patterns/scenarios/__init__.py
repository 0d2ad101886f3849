"""The scenarios that the suite of patterns runs, a module each; see `tests.patterns.suite`."""

NAMES = [
    "at_once",
    "auction_english",
    "auction_vickrey",
    "blackboard",
    "contract_net",
    "debate",
    "group_chat",
    "hierarchy",
    "map_reduce",
    "pipeline",
    "saga",
    "scatter_gather",
    "swarm",
    "voting",
]
