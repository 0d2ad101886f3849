"""Text: what a sentence says. Its words, its numbers, and whether it denies.

It may import the values. Read `sentences` first.
"""

__all__: list[str] = []
