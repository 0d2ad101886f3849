"""Blackboard: sources of knowledge that know nothing of each other solve a problem on a board they share.

The board tells sources of entries that concern them, a control chooses who works next, and a claim that lapses gives a
dead source's work to another. B. Hayes-Roth, "A blackboard architecture for control", Artificial Intelligence 26, 1985;
L. Erman et al., "The Hearsay-II speech-understanding system", ACM Computing Surveys 12(2), 1980.
"""

from moot.patterns.blackboard.agent import BlackboardAgent, BoardBusy
from moot.patterns.blackboard.board import Board, Claim, Trigger, by_priority
from moot.patterns.blackboard.limits import Limits
from moot.patterns.blackboard.messages import (
    Activation,
    Entry,
    GiveBack,
    Hypothesis,
    Interest,
    Post,
    Posted,
    ReadBoard,
    Refusal,
    Renew,
    Solution,
    Solve,
    StopReason,
    Subscribe,
)
from moot.patterns.blackboard.source import KnowledgeSource

__all__ = [
    "Activation",
    "BlackboardAgent",
    "Board",
    "BoardBusy",
    "Claim",
    "Entry",
    "GiveBack",
    "Hypothesis",
    "Interest",
    "KnowledgeSource",
    "Limits",
    "Post",
    "Posted",
    "ReadBoard",
    "Refusal",
    "Renew",
    "Solution",
    "Solve",
    "StopReason",
    "Subscribe",
    "Trigger",
    "by_priority",
]
