"""Evidence: whether a quote carries a claim, and where quotes differ.

It may import `retrieval` and what is below that. Read `support` first.
"""

__all__: list[str] = []
