"""The board as a value, and its rules: what triggers whom, who is given what, which claims hold, when it is over.

A *trigger* is a kind of source and an entry's version that concerns it; there is one for each pair, ever. The control
rates triggers, and the best is given to a source of that kind, as a *claim* with a lease and a token. Tokens only rise,
and a post is taken only with the token of the present claim, so a source that was given up cannot disturb the one that
has its work now (fencing; M. Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from moot import ReplyTo
from moot.patterns.blackboard.limits import Limits
from moot.patterns.blackboard.messages import (
    Entry,
    Hypothesis,
    Interest,
    Refusal,
    Solution,
    StopReason,
    Subscribe,
)

__all__ = ["Board", "Claim", "Control", "Goal", "Trigger", "by_priority"]

K = TypeVar("K")
V = TypeVar("V")


class Trigger(msgspec.Struct, frozen=True):
    """An entry's version concerns a kind of source. ``number`` is its place in the order of arrival."""

    kind: str
    entry: str
    version: int
    priority: float
    number: int
    had: tuple[str, ...] = ()
    """The sources that it was given to so far."""
    failed: tuple[str, ...] = ()
    """Those that gave it back."""


class Claim(msgspec.Struct, frozen=True):
    """A trigger is a source's until ``expires``."""

    token: int
    owner: str
    trigger: Trigger
    expires: float


Control = Callable[[Trigger, Entry], float]
"""Rates a trigger; the highest is given out first, of several the oldest."""
Goal = Callable[[Mapping[str, Entry]], Entry | None]
"""The entry that solves the problem, if it is there."""


def by_priority(trigger: Trigger, entry: Entry) -> float:
    """The usual control: the priority of the interest, and the confidence of the entry, which is 1 at most."""
    return trigger.priority + entry.confidence


class Board(msgspec.Struct, frozen=True):
    """A problem under way, or one that has ended, and the sources. ``claims`` are by owner, who has one at most."""

    problem: str = ""
    reason: StopReason | None = None
    goal: Entry | None = None
    ends: float = 0.0
    budget: int = 0
    quiet: float = 0.0
    """For how long nobody has worked, by its own timer: by the clock it would not hear who waits in its mail."""
    entries: dict[str, Entry] = {}
    triggers: dict[str, Trigger] = {}
    claims: dict[str, Claim] = {}
    seen: dict[str, int] = {}
    """The versions that have triggered a kind, by kind and key."""
    token: int = 0
    arrivals: int = 0
    history: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
    waiting: tuple[ReplyTo, ...] = ()
    sources: dict[str, Subscribe] = {}
    done: dict[str, int] = {}
    """The token of each source's last post that ended a claim, which may come again."""

    @property
    def is_open(self) -> bool:
        """Whether a problem is under way."""
        return bool(self.problem) and self.reason is None

    @property
    def solution(self) -> Solution:
        """How it ended."""
        reason = self.reason or StopReason.EXHAUSTED
        return Solution(self.problem, reason, tuple(self.entries.values()), self.goal, self.history, self.abandoned)

    def begun(self, problem: str, ends: float, budget: int) -> Board:
        """An empty board for a problem; the sources stay, and tokens go on rising."""
        return Board(problem, ends=ends, budget=budget, token=self.token, sources=self.sources, done=self.done)

    def refusal(self, hypotheses: Sequence[Any], levels: tuple[str, ...], limits: Limits) -> Refusal | None:
        """Why these cannot be put on the board, if they cannot."""
        if len(hypotheses) > limits.post or not all(
            isinstance(one, Hypothesis) and one.is_valid(levels) for one in hypotheses
        ):
            return Refusal.INVALID
        fresh = {one.key for one in hypotheses} - self.entries.keys()
        return Refusal.FULL if len(self.entries) + len(fresh) > limits.entries else None

    def with_entries(self, hypotheses: Sequence[Hypothesis], author: str) -> Board:
        """With these on it. One whose key is there replaces it if it is more confident, and is dropped if not."""
        entries, changed = dict(self.entries), {}
        for one in hypotheses:
            known = entries.get(one.key)
            if known is None or one.confidence > known.confidence:
                version = 1 if known is None else known.version + 1
                of = tuple(one.of)
                entry = Entry(one.level, one.key, one.content, one.confidence, of, author, version)
                entries[one.key] = changed[one.key] = entry
        return replace(self, entries=entries).triggered(self.sources.values(), changed.values())

    def triggered(self, sources: Iterable[Subscribe], entries: Collection[Entry]) -> Board:
        """With a trigger for each entry that concerns a kind and has not triggered it in this version."""
        triggers, seen, arrivals = dict(self.triggers), dict(self.seen), self.arrivals
        for source in dict.fromkeys(sources):
            for entry in entries:
                name = f"{source.kind}: {entry.key}"
                if seen.get(name, 0) >= entry.version or (interest := _interest(source, entry)) is None:
                    continue
                seen[name] = entry.version
                arrivals += 1
                triggers[name] = Trigger(source.kind, entry.key, entry.version, interest.priority, arrivals)
        return replace(self, triggers=triggers, seen=seen, arrivals=arrivals)

    def subscribed(self, source_id: str, source: Subscribe, limits: Limits) -> Board:
        """With a source that was heard of; as before if it is known, or if there is no room for it."""
        known = self.sources.get(source_id)
        if known == source or (known is None and len(self.sources) >= limits.sources):
            return self
        board = replace(self, sources={**self.sources, source_id: source})
        return board.triggered([source], self.entries.values()) if board.is_open else board

    def without_source(self, source_id: str, limits: Limits) -> Board:
        """Without a source that is gone, or was not heard of for a lease; what it had is to be given to another."""
        board = self
        if (claim := self.claims.get(source_id)) is not None:
            board = self.given_back(claim.token, source_id, limits, failed=False)
        return replace(board, sources=_without(board.sources, source_id), done=_without(board.done, source_id))

    def held(self, token: int, owner: str, now: float) -> Claim | None:
        """The claim of this token, if ``owner`` has it and it has not lapsed."""
        claim = self.claims.get(owner)
        return claim if self.is_open and claim is not None and claim.token == token and now < claim.expires else None

    def renewed(self, claim: Claim, expires: float) -> Board:
        """With a claim that holds longer."""
        return replace(self, claims={**self.claims, claim.owner: replace(claim, expires=expires)})

    def finished(self, claim: Claim) -> Board:
        """Without a claim whose owner has brought it to an end."""
        done = {**self.done, claim.owner: claim.token}
        return replace(self, claims=_without(self.claims, claim.owner), done=done)

    def given_back(self, token: int, owner: str, limits: Limits, *, failed: bool = True) -> Board:
        """Without a claim whose owner has not: its trigger is to be given out again, unless that was tried enough."""
        claim = self.claims.get(owner)
        if claim is None or claim.token != token:
            return self
        board = replace(self, claims=_without(self.claims, owner))
        name = f"{claim.trigger.kind}: {claim.trigger.entry}"
        if name in board.triggers or self.seen.get(name) != claim.trigger.version:
            return board  # a newer version has triggered the kind meanwhile
        if len(claim.trigger.had) >= limits.attempts:
            return replace(board, abandoned=(*board.abandoned, name))
        trigger = replace(claim.trigger, failed=(*claim.trigger.failed, owner)) if failed else claim.trigger
        return replace(board, triggers={**board.triggers, name: trigger})

    def lapsed(self, now: float, limits: Limits) -> Board:
        """Without the claims whose time is over, and without their owners until these are heard of again."""
        board = self
        for owner, claim in self.claims.items():
            if claim.expires <= now:
                board = board.without_source(owner, limits)
        return board

    def granted(self, now: float, control: Control, limits: Limits) -> tuple[Board, list[Claim]]:
        """With what can be given out given out, the best first; and the new claims."""
        board, claims = self, []
        while len(board.claims) < limits.parallel and len(board.history) < board.budget:
            able = board.able(limits)
            if not able:
                break
            best = max(able, key=partial(_rate, board, control))
            trigger = board.triggers[best]
            owner = able[best][0]
            claim = Claim(board.token + 1, owner, replace(trigger, had=(*trigger.had, owner)), now + limits.lease)
            claims.append(claim)
            board = replace(
                board,
                token=claim.token,
                triggers=_without(board.triggers, best),
                claims={**board.claims, owner: claim},
                history=(*board.history, best),
            )
        return board, claims

    def able(self, limits: Limits) -> dict[str, list[str]]:
        """For each trigger that can be given out now, the sources that it may go to.

        Those are of its kind and are idle, and had it as seldom as any other that could be given it: whoever has failed
        at it gets it again only when all have tried.
        """
        of_kind: defaultdict[str, list[str]] = defaultdict(list)
        for name, source in self.sources.items():
            of_kind[source.kind].append(name)
        able = {}
        for name, trigger in self.triggers.items():
            entry = self.entries[trigger.entry]
            met = [
                one
                for one in of_kind[trigger.kind]
                if trigger.failed.count(one) < limits.failures and _interest(self.sources[one], entry) is not None
            ]
            fewest = min(map(trigger.had.count, met), default=0)
            if idle := [one for one in met if one not in self.claims and trigger.had.count(one) == fewest]:
                able[name] = idle
        return able

    def ended(self, now: float, goal: Goal) -> Board:
        """As it is, or solved, or with its time over."""
        if (found := goal(self.entries)) is not None:
            return self._over(StopReason.SOLVED, found)
        return self._over(StopReason.DEADLINE) if now >= self.ends else self

    def exhausted(self, limits: Limits, waited: float = 0.0) -> Board:
        """As it is, or ended because nobody works and nothing can be given out. To be looked at after `granted`.

        ``waited``: seconds since it was looked at so by the board's timer.
        """
        if self.claims:
            return replace(self, quiet=0.0) if self.quiet else self
        if len(self.history) >= self.budget and self.triggers:
            return self._over(StopReason.BUDGET)
        quiet = self.quiet + waited
        if quiet >= limits.quiet:
            return self._over(StopReason.EXHAUSTED)
        return replace(self, quiet=quiet) if waited else self

    def _over(self, reason: StopReason, goal: Entry | None = None) -> Board:
        left = [f"{claim.trigger.kind}: {claim.trigger.entry}" for claim in self.claims.values()]
        if reason is StopReason.EXHAUSTED:
            left += self.triggers
        return replace(self, reason=reason, goal=goal, claims={}, abandoned=(*self.abandoned, *left))


def _rate(board: Board, control: Control, name: str) -> tuple[float, int]:
    trigger = board.triggers[name]
    return control(trigger, board.entries[trigger.entry]), -trigger.number


def _interest(source: Subscribe, entry: Entry) -> Interest | None:
    """The interest of the highest priority that an entry meets."""
    met = [interest for interest in source.interests if interest.matches(entry)]
    return max(met, key=lambda interest: interest.priority, default=None)


def _without(mapping: dict[K, V], key: K) -> dict[K, V]:
    return {one: value for one, value in mapping.items() if one != key}
