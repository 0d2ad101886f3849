"""An English auction does what the simplest model of one does, whatever is tried on it and when."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moot.patterns.market import (
    Bid,
    Bidder,
    Close,
    Confirm,
    English,
    Event,
    HmacSigner,
    Recording,
    Tick,
    Withdraw,
    verify,
)

BUDGETS = {"ann": 200, "bob": 150, "cid": None}
names = st.sampled_from([*BUDGETS, "stranger"])
SIGNER = HmacSigner(b"a key that is long enough")


class Model:
    """A list of the bids that stand, the highest last, and plain arithmetic."""

    def __init__(self, reserve: int, increment: int) -> None:
        self.reserve, self.increment = reserve, increment
        self.bids: list[tuple[int, str]] = []
        self.out: set[str] = set()
        self.ends = 60.0
        self.stage = "bidding"
        self.failed: list[str] = []

    def bid(self, name: str, amount: int, at: float) -> bool:
        least = self.bids[-1][0] + self.increment if self.bids else self.reserve
        budget = BUDGETS.get(name, -1)
        poor = budget is not None and amount > budget
        if self.stage != "bidding" or at >= self.ends or name in self.out or poor or amount < least:
            return False
        self.bids = [each for each in self.bids if each[1] != name] + [(amount, name)]
        if self.ends - at <= 10:
            self.ends = max(self.ends, at + 15)
        return True

    def withdraw(self, name: str, at: float) -> bool:
        if self.stage == "confirming" and at < self.ends and self.bids[-1][1] == name:
            self.pass_over(at)
            return True
        if self.stage != "bidding" or at > self.ends - 20 or name not in {each[1] for each in self.bids}:
            return False
        self.bids = [each for each in self.bids if each[1] != name]
        self.out.add(name)
        return True

    def tick(self, at: float) -> None:
        if self.stage != "closed" and at >= self.ends:
            self.pass_over(at) if self.stage == "confirming" else self.award(at)

    def award(self, at: float) -> None:
        self.stage, self.ends = ("confirming", at + 30) if self.bids else ("closed", self.ends)

    def pass_over(self, at: float) -> None:
        self.failed.append(self.bids.pop()[1])
        self.award(at)

    def confirm(self, name: str, at: float) -> bool:
        if self.stage != "confirming" or at >= self.ends or self.bids[-1][1] != name:
            return False
        self.stage = "closed"
        return True

    def close(self, name: str, at: float) -> bool:
        if self.stage != "bidding" or at >= self.ends or name != "sue":
            return False
        self.award(at)
        return True


class EnglishMachine(RuleBasedStateMachine):
    @initialize(reserve=st.integers(0, 50), increment=st.integers(1, 20))
    def opens(self, reserve: int, increment: int) -> None:
        rules = English(
            "lot",
            seller="sue",
            lasts=60,
            reserve=reserve,
            increment=increment,
            snipe_within=10,
            extend_by=15,
            withdrawable=20,
            confirm_within=30,
            bidders={name: Bidder(budget) for name, budget in BUDGETS.items()},
        )
        self.model = Model(reserve, increment)
        self.recording = Recording.of(rules, 0)
        self.now = 0.0

    def both(self, event: Event, expected: bool) -> None:
        self.recording, refused = self.recording.take(event, self.now)
        assert (refused is None) == expected, (event, refused)

    def until_now(self) -> Model:
        self.model.tick(self.now)
        return self.model

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.0, 25.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(before=st.sampled_from([20.0, 10.0, 0.5, 0.0]))
    def the_deadline_comes_near(self, before: float) -> None:
        self.now = max(self.now, (self.recording.auction.deadline or 0.0) - before)

    @rule()
    def a_timer_fires(self) -> None:
        self.until_now()
        self.both(Tick(), expected=True)

    @rule(name=names, amount=st.integers(0, 220))
    def somebody_bids(self, name: str, amount: int) -> None:
        self.both(Bid(name, amount), self.until_now().bid(name, amount, self.now))

    @rule(name=names, more=st.integers(-1, 5))
    def somebody_bids_about_what_is_asked(self, name: str, more: int) -> None:
        model = self.until_now()
        least = model.bids[-1][0] + model.increment if model.bids else model.reserve
        self.somebody_bids(name, max(0, least + more))

    @rule(name=names)
    def somebody_withdraws(self, name: str) -> None:
        self.both(Withdraw(name), self.until_now().withdraw(name, self.now))

    @rule(name=names)
    def somebody_confirms(self, name: str) -> None:
        self.both(Confirm(name), self.until_now().confirm(name, self.now))

    @rule(name=st.sampled_from(["sue", "ann"]))
    def somebody_closes(self, name: str) -> None:
        self.both(Close(name), self.until_now().close(name, self.now))

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        model, auction = self.model, self.recording.auction
        leader = auction.leader
        stands: Any = (model.bids[-1][1], model.bids[-1][0]) if model.bids else None
        assert auction.stage == model.stage
        assert auction.deadline == (None if model.stage == "closed" else model.ends)
        assert (None if leader is None else (leader.bidder, leader.price)) == stands
        assert list(auction.no_shows) == model.failed

    def teardown(self) -> None:
        if hasattr(self, "model") and self.recording.auction.stage == "closed":
            assert verify(self.recording.signed(SIGNER), SIGNER) == self.recording.auction


EnglishMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEnglish = EnglishMachine.TestCase
