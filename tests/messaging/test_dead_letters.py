"""The store of dead letters is bounded, and a backend that keeps them is told of what it forgets."""

from __future__ import annotations

from moot import AgentMessage, DeadLetters, Reason


def test_a_letter_that_makes_room_for_a_newer_one_is_said_to_be_gone() -> None:
    kept: dict[int, str] = {}
    letters = DeadLetters(capacity=2)
    letters.added = lambda letter, agent_id: kept.update({letter.id: agent_id})
    letters.taken = kept.__delitem__

    for name in "abc":
        letters.add(AgentMessage("outside", name, None, "note"), Reason.STOPPED, "gone", at=0.0)

    assert [letter.message.to for letter in letters] == ["b", "c"]
    assert list(kept.values()) == ["b", "c"]
    letters.put_back(letters.take(2))
    assert list(kept.values()) == ["c", "b"]
    assert letters.counts[Reason.STOPPED] == 3
