"""The backend on one SQLite file: a system that survives its process, and the power, without a server."""

from moot.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
