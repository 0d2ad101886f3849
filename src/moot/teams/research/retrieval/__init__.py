"""Retrieval: which sentences speak of the question.

It may import `sources` and `text`. Read `question` first, then `rank` and `coverage`.
"""

__all__: list[str] = []
