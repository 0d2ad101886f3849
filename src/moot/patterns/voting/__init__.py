"""Voting: agents choose among candidates, by plurality, approval, Borda, Schulze or instant-runoff.

Three layers, each usable alone: methods count ballots and are pure; `vote` asks voters for theirs in one turn; an
`ElectionAgent` holds an election open for a time and takes what is cast.
"""

from moot.patterns.voting.ballots import Ballot, Invalid, Tally, ballot_of
from moot.patterns.voting.election import (
    AwaitPoll,
    CastBallot,
    CloseElection,
    ElectionAgent,
    ElectionClosed,
    OpenElection,
    Receipt,
)
from moot.patterns.voting.methods import METHODS, Approval, Borda, InstantRunoff, Method, Plurality, Schulze
from moot.patterns.voting.pairwise import pairwise, strongest_paths
from moot.patterns.voting.poll import BallotPaper, Poll, vote

__all__ = [
    "METHODS",
    "Approval",
    "AwaitPoll",
    "Ballot",
    "BallotPaper",
    "Borda",
    "CastBallot",
    "CloseElection",
    "ElectionAgent",
    "ElectionClosed",
    "InstantRunoff",
    "Invalid",
    "Method",
    "OpenElection",
    "Plurality",
    "Poll",
    "Receipt",
    "Schulze",
    "Tally",
    "ballot_of",
    "pairwise",
    "strongest_paths",
    "vote",
]
