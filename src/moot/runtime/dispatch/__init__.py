"""Dispatch: turns are taken, run, committed or rolled back.

It may import `routing` and what is below that. Read `dispatcher` first, then `commit` and `rollback`.
"""

__all__: list[str] = []
