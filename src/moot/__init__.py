"""Moot: a runtime for multi-agent systems.

Supervised agents exchange typed messages, share state, and think with a language-model
engine. ``AgentManager`` runs them; ``Agent`` and ``handles`` write them; ``Payload``
and ``Request`` are what they say to each other.

The names are loaded when they are first used: `moot.lazy` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moot.agent.agent import Agent, FunctionAgent
    from moot.agent.ask import Ask
    from moot.agent.context import AgentContext
    from moot.agent.gather import AskGroup, QuorumFailed, gather
    from moot.agent.handlers import handles
    from moot.agent.stream import Stream
    from moot.backends.errors import BackendBusy, BackendDamaged, BackendError, BackendFailed, BackendVersion
    from moot.engine.errors import (
        ContextOverflow,
        EngineBreakerOpen,
        EngineCrashed,
        EngineError,
        EngineRejected,
        EngineTimeout,
        EngineUnavailable,
        ModelUnavailable,
    )
    from moot.errors import (
        AgentNotMade,
        AgentStopped,
        AskTimeout,
        BreakerOpen,
        CoordinationError,
        DeadlockError,
        DeliveryError,
        DuplicateAgent,
        Factual,
        InvalidAnswer,
        InvalidPayload,
        MailboxFull,
        ManagerStopped,
        MessageError,
        MessageTooLarge,
        MootError,
        RateLimited,
        Retry,
        StateConflict,
        StateUnreadable,
        TurnError,
        TurnTimeout,
        UnknownAgent,
        UnknownMessageType,
    )
    from moot.manager.manager import AgentManager, ManagerStats
    from moot.manager.sender import MessageSender
    from moot.messaging.dead_letters import DeadLetter, DeadLetters, Reason
    from moot.messaging.evolution import upgrade
    from moot.messaging.message import AgentMessage, Payload, ReplyTo, Request
    from moot.policies import (
        Backoff,
        BatchPolicy,
        BreakerPolicy,
        MailboxPolicy,
        ParkedMail,
        RateLimit,
        RetryPolicy,
        Supervision,
        TimeoutPolicy,
    )
    from moot.resilience.breaker import BreakerStatus
    from moot.resilience.retry import retried_while
    from moot.runtime.dispatch.interceptor import Interceptor
    from moot.runtime.liveness.progress import AgentHealth, Health
    from moot.runtime.routing.death_watch import Terminated
    from moot.runtime.routing.directory import AgentCard
    from moot.runtime.routing.router import MessageRouter
    from moot.runtime.routing.selector import Candidate, Selector
    from moot.runtime.routing.transport import Transport
    from moot.runtime.supervision import SupervisionFailed
    from moot.state import Change, InMemorySharedState, SharedState, Versioned, WatchExpired
else:
    from moot.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "agent.agent": "Agent FunctionAgent",
            "agent.ask": "Ask",
            "agent.context": "AgentContext",
            "agent.gather": "AskGroup QuorumFailed gather",
            "agent.handlers": "handles",
            "agent.stream": "Stream",
            "backends.errors": "BackendBusy BackendDamaged BackendError BackendFailed BackendVersion",
            "engine.errors": (
                "ContextOverflow EngineBreakerOpen EngineCrashed EngineError EngineRejected EngineTimeout "
                "EngineUnavailable ModelUnavailable"
            ),
            "errors": (
                "AgentNotMade AgentStopped AskTimeout BreakerOpen CoordinationError DeadlockError DeliveryError "
                "DuplicateAgent Factual InvalidAnswer InvalidPayload MailboxFull ManagerStopped MessageError "
                "MessageTooLarge MootError RateLimited Retry StateConflict StateUnreadable TurnError TurnTimeout "
                "UnknownAgent UnknownMessageType"
            ),
            "manager.manager": "AgentManager ManagerStats",
            "manager.sender": "MessageSender",
            "messaging.dead_letters": "DeadLetter DeadLetters Reason",
            "messaging.evolution": "upgrade",
            "messaging.message": "AgentMessage Payload ReplyTo Request",
            "policies": (
                "Backoff BatchPolicy BreakerPolicy MailboxPolicy ParkedMail RateLimit RetryPolicy Supervision "
                "TimeoutPolicy"
            ),
            "resilience.breaker": "BreakerStatus",
            "resilience.retry": "retried_while",
            "runtime.dispatch.interceptor": "Interceptor",
            "runtime.liveness.progress": "AgentHealth Health",
            "runtime.routing.death_watch": "Terminated",
            "runtime.routing.directory": "AgentCard",
            "runtime.routing.router": "MessageRouter",
            "runtime.routing.selector": "Candidate Selector",
            "runtime.routing.transport": "Transport",
            "runtime.supervision": "SupervisionFailed",
            "state": "Change InMemorySharedState SharedState Versioned WatchExpired",
        },
    )

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentCard",
    "AgentHealth",
    "Health",
    "AgentContext",
    "AgentManager",
    "AgentMessage",
    "AgentNotMade",
    "AgentStopped",
    "Ask",
    "AskGroup",
    "AskTimeout",
    "BackendBusy",
    "BackendDamaged",
    "BackendError",
    "BackendFailed",
    "BackendVersion",
    "Backoff",
    "BatchPolicy",
    "BreakerOpen",
    "BreakerPolicy",
    "BreakerStatus",
    "Candidate",
    "Change",
    "ContextOverflow",
    "CoordinationError",
    "DeadLetter",
    "DeadLetters",
    "DeadlockError",
    "DeliveryError",
    "DuplicateAgent",
    "EngineBreakerOpen",
    "EngineCrashed",
    "EngineError",
    "EngineRejected",
    "EngineTimeout",
    "EngineUnavailable",
    "Factual",
    "FunctionAgent",
    "InMemorySharedState",
    "Interceptor",
    "InvalidAnswer",
    "InvalidPayload",
    "MailboxFull",
    "MailboxPolicy",
    "ManagerStats",
    "ManagerStopped",
    "MessageError",
    "MessageRouter",
    "MessageSender",
    "MessageTooLarge",
    "ModelUnavailable",
    "MootError",
    "ParkedMail",
    "Payload",
    "QuorumFailed",
    "RateLimit",
    "RateLimited",
    "Reason",
    "ReplyTo",
    "Request",
    "Retry",
    "RetryPolicy",
    "Selector",
    "SharedState",
    "StateConflict",
    "StateUnreadable",
    "Stream",
    "Supervision",
    "SupervisionFailed",
    "Terminated",
    "TimeoutPolicy",
    "Transport",
    "TurnError",
    "TurnTimeout",
    "UnknownAgent",
    "UnknownMessageType",
    "Versioned",
    "WatchExpired",
    "gather",
    "handles",
    "retried_while",
    "upgrade",
]
