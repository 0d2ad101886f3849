"""Sources: from files to passages that know their place.

It may import `text`. Read `ingest` first.
"""

__all__: list[str] = []
