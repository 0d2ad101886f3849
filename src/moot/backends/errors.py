"""Errors of backends that keep things: who holds the file, and what is wrong with it."""

from __future__ import annotations

from moot.errors import MootError

__all__ = ["BackendBusy", "BackendDamaged", "BackendError", "BackendFailed", "BackendVersion"]


class BackendError(MootError):
    """What is kept cannot be read or written; nothing was changed."""


class BackendBusy(BackendError):
    """Another process owns the file. ``owner`` says who, as far as it is known."""

    def __init__(self, path: str, owner: str) -> None:
        self.path = path
        self.owner = owner
        super().__init__(
            f"{path} belongs to a running system ({owner}); stop that one first, or look at it with 'moot inspect'"
        )


class BackendVersion(BackendError):
    """The file was written by a newer version."""

    def __init__(self, path: str, found: int, known: int) -> None:
        self.path = path
        self.found = found
        self.known = known
        super().__init__(
            f"{path} has schema version {found}, and this version of Moot knows up to {known}; upgrade Moot"
        )


class BackendDamaged(BackendError):
    """The file is no database of ours, or not whole."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{path} is damaged: {what}; run 'moot doctor {path}', which says what can be done")


class BackendFailed(BackendError):
    """Writing failed for good; what was not acknowledged is not kept."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path} cannot be written any more: {why}; repair that and start the system again")
