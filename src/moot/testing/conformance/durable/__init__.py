"""Cases that only a durable backend has to pass: what is stored in one life is there in the next.

A module here imports `lives` and `cast`, as the other cases do. Read `mail` first.
"""

__all__: list[str] = []
