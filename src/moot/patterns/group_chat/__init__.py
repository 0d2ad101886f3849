"""Group chat: agents talk in turns until one is done, all agree, or a bound is reached, and it is known why it ended.

Turns go round, are given by a selector, or are handed off by whoever speaks. Any agent that answers `Speak` takes part:
a plain one, one that asks a language model, or one that defers its answer until a human has typed it.
"""

from moot.patterns.group_chat.chat import (
    ChooseSpeaker,
    Discuss,
    GroupChatAgent,
    Handoff,
    RoundRobin,
    Said,
    Selector,
    Speak,
    Taking,
    group_chat,
)
from moot.patterns.group_chat.rules import Chat, ChatRules, Line, StopReason, Transcript, Turn, Utterance

__all__ = [
    "Chat",
    "ChatRules",
    "ChooseSpeaker",
    "Discuss",
    "GroupChatAgent",
    "Handoff",
    "Line",
    "RoundRobin",
    "Said",
    "Selector",
    "Speak",
    "StopReason",
    "Taking",
    "Transcript",
    "Turn",
    "Utterance",
    "group_chat",
]
