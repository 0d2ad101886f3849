"""Policies: frozen settings that say how an agent is to be treated, and the checks of them.

It may import the other words (`errors`, `ids`). Read `settings` first.
"""

from moot.policies.registration import Policies, check_names, check_policies, names_of
from moot.policies.settings import (
    SEND_TIMEOUT,
    Backoff,
    BatchPolicy,
    BreakerPolicy,
    Directive,
    MailboxPolicy,
    Overflow,
    ParkedMail,
    RateLimit,
    RestartKind,
    RetryPolicy,
    Strategy,
    Supervision,
    TimeoutPolicy,
)

__all__ = [
    "SEND_TIMEOUT",
    "Backoff",
    "BatchPolicy",
    "BreakerPolicy",
    "Directive",
    "MailboxPolicy",
    "Overflow",
    "ParkedMail",
    "Policies",
    "RateLimit",
    "RestartKind",
    "RetryPolicy",
    "Strategy",
    "Supervision",
    "TimeoutPolicy",
    "check_names",
    "check_policies",
    "names_of",
]
