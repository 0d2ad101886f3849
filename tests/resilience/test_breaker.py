"""A circuit breaker obeys its state table."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot import BreakerPolicy
from moot.resilience.breaker import Breaker

RESET = 10.0


class AgainstItsTable(RuleBasedStateMachine):
    """The state table, written as a table: state and event give the next state.

    A call belongs to the visit of the state in which it began; the model keeps that visit as an object.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(BreakerPolicy(failures=3, reset_after=RESET, probes=2), "of 'a' to 'b'")
        self.now = 1_700_000_000.0
        self.calls: list[tuple[int, dict[str, Any]]] = []
        self.visit: dict[str, Any] = {"state": "closed", "row": 0}

    def move(self, state: str, row: int = 0) -> None:
        self.visit = {"state": state, "row": row, "since": self.now, "out": 0, "passed": 0}

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, RESET]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        wait = self.breaker.retry_after(self.now)
        visit = self.visit
        if visit["state"] == "closed":
            assert wait == 0
        elif visit["state"] == "open":
            assert wait == max(0.0, visit["since"] + RESET - self.now)
            if not wait:
                self.move("half_open", visit["row"])
        else:
            assert wait == (RESET if visit["out"] >= 2 else 0)
        if not wait:
            if self.visit["state"] == "half_open":
                self.visit["out"] += 1
            self.calls.append((self.breaker.admit(), self.visit))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["answered", "failed", "abandoned"]))
    def end(self, which: int, outcome: str) -> None:
        ticket, visit = self.calls.pop(which % len(self.calls))
        if outcome == "answered":
            self.breaker.succeeded(ticket)
        elif outcome == "failed":
            self.breaker.failed(ticket, self.now)
        else:
            self.breaker.abandoned(ticket)
        if visit is not self.visit:
            return  # it tells nothing about the present
        match visit["state"], outcome:
            case "closed", "answered":
                visit["row"] = 0
            case "closed", "failed":
                visit["row"] += 1
                if visit["row"] == 3:
                    self.move("open", 3)
            case "half_open", "answered":
                visit["row"] = 0
                visit["passed"] += 1
                if visit["passed"] == 2:
                    self.move("closed")
            case "half_open", "failed":
                self.move("open", visit["row"] + 1)
            case "half_open", "abandoned":
                visit["out"] -= 1
            case _:
                assert outcome == "abandoned"

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state == self.visit["state"]
        assert self.breaker.failures == self.visit["row"]


TestBreaker = AgainstItsTable.TestCase
