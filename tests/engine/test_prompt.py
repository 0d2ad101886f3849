"""Prompts keep their prefix: equal arguments give equal bytes, and what differs comes last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moot.engine.base import ChatMessage
from moot.engine.prompt import build_prompt, canonical_json, shared_prefix

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=10,
)


def test_the_order_is_instructions_shared_role_task() -> None:
    messages = build_prompt(instructions="I", shared=["S", {"b": 1, "a": 2}], role="R", task="T")

    assert messages == (ChatMessage("system", "I"), ChatMessage("user", 'S\n\n{"a":2,"b":1}\n\nR\n\nT'))


def test_empty_parts_leave_no_gap() -> None:
    assert build_prompt(task="T") == (ChatMessage("user", "T"),)
    assert build_prompt(shared="one text", task="T") == (ChatMessage("user", "one text\n\nT"),)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_canonical_json_orders_sets() -> None:
    assert canonical_json({"x": {"c", "a", "b"}}) == '{"x":["a","b","c"]}'


@given(st.text(min_size=1), st.lists(st.text(min_size=1)), st.text(min_size=1), st.text(min_size=1))
def test_two_tasks_share_all_that_stands_before_them(
    instructions: str, shared: list[str], first: str, second: str
) -> None:
    one = build_prompt(instructions=instructions, shared=shared, task=first)
    other = build_prompt(instructions=instructions, shared=shared, task=second)

    common = len(instructions) + len("\n\n".join([*shared, ""]))
    assert shared_prefix(one, other) >= common


def test_appending_to_the_shared_context_keeps_the_prefix() -> None:
    before = build_prompt(instructions="I", shared=["one", "two"], task="")
    after = build_prompt(instructions="I", shared=["one", "two", "three"], task="")

    assert shared_prefix(before, after) == len("I") + len("one\n\ntwo")


def test_another_role_of_a_message_shares_nothing() -> None:
    assert shared_prefix((ChatMessage("system", "same"),), (ChatMessage("user", "same"),)) == 0
