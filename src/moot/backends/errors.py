"""Errors of backends that keep things: who holds the file, and what is wrong with it."""

from __future__ import annotations

from moot.errors import Factual, MootError

__all__ = ["BackendBusy", "BackendDamaged", "BackendError", "BackendFailed", "BackendVersion"]


class BackendError(MootError):
    """What is stored cannot be read or written; nothing was changed."""


class BackendBusy(Factual, BackendError):
    """Another process owns the file. ``owner`` says who, as far as it is known."""

    path: str
    owner: str
    template = "{path} belongs to a running system ({owner}); stop that one first, or look at it with 'moot inspect'"


class BackendVersion(Factual, BackendError):
    """The file was written by a newer version."""

    path: str
    found: int
    known: int
    template = "{path} has schema version {found}, and this version of Moot knows up to {known}; upgrade Moot"


class BackendDamaged(Factual, BackendError):
    """The file is no database of ours, or not whole."""

    path: str
    what: str
    template = "{path} is damaged: {what}; run 'moot doctor {path}', which says what can be done"


class BackendFailed(Factual, BackendError):
    """Writing failed for good; what was not acknowledged is not stored."""

    path: str
    why: str
    template = "{path} cannot be written any more: {why}; repair that and start the system again"
