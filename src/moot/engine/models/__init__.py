"""Models: where the weights of local models come from.

It may import the errors of the engines, and no engine. Read `catalogue` first.
"""

__all__: list[str] = []
