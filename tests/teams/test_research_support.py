"""The checker lets through what its quote carries and catches what it does not.

Measured on planted citations: of at least 30 wrong ones at least nine in ten are
dropped or marked, and at most one in ten of the good ones is lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moot.teams.research.evidence.support import bind, clean_sentence, support
from moot.teams.research.values import Note

CITATIONS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "citations.json").read_text(encoding="utf-8"))


def _verdict(claim: str, entry: dict[str, Any]) -> str:
    return support(claim, [entry["quote"]], entry["frame"]).verdict


def _note(number: int, quote: str, *, path: str = "a.md") -> Note:
    return Note(id=f"n.{number}", quote=quote, path=path, title="A", line=1, end_line=1, start=0, end=len(quote))


def test_at_least_nine_in_ten_wrong_citations_are_caught() -> None:
    wrong = [(claim, entry) for entry in CITATIONS for claim in entry["wrong"]]

    passed = [claim for claim, entry in wrong if _verdict(claim, entry) == "supported"]

    assert len(wrong) >= 30
    assert len(wrong) - len(passed) >= 0.9 * len(wrong), passed


def test_at_most_one_in_ten_good_citations_is_lost() -> None:
    good = [(claim, entry) for entry in CITATIONS for claim in entry["good"]]

    lost = [claim for claim, entry in good if _verdict(claim, entry) != "supported"]

    assert len(lost) <= 0.1 * len(good), lost


@pytest.mark.parametrize("entry", CITATIONS, ids=lambda entry: str(entry["frame"])[:20])
def test_a_verbatim_quote_is_supported(entry: dict[str, Any]) -> None:
    assert _verdict(entry["quote"], entry) == "supported"


def test_the_reason_names_the_number_that_is_not_there() -> None:
    result = support("The limit is 512 connections.", ["The limit is 256 connections."])

    assert result.verdict == "unsupported"
    assert result.reasons == ("number 512 is not in the quote",)


def test_number_words_and_thousands_commas_are_the_same_number() -> None:
    assert support("It takes ten thousand steps.", ["It takes 10,000 steps."]).verdict == "supported"
    assert support("It takes 2 million steps.", ["It takes two million steps."]).verdict == "supported"


def test_the_digit_one_is_a_number_and_the_word_is_a_pronoun() -> None:
    assert support("The command exits with status 1.", ["The command exits with status 4."]).verdict == "unsupported"
    assert support("One exits with status 4.", ["The command exits with status 4."]).verdict == "supported"


def test_a_unit_that_is_swapped_is_caught() -> None:
    result = support("The backup takes 8 days.", ["The backup takes 8 hours."])

    assert result.verdict == "unsupported"
    assert "8 days is not what the quote gives" in result.reasons


def test_words_of_the_question_give_no_credit() -> None:
    question = "Which motor does the blue turbine use for its rotor?"

    result = support("The blue turbine uses the XKCD motor for its rotor.", ["XKCD is a comic."], "", question)

    assert result.verdict == "unsupported"


def test_a_sentence_fused_from_two_notes_is_bound_to_both() -> None:
    notes = [
        _note(1, "The lake covers 48 square kilometres."),
        _note(2, "The valley has many farms."),
        _note(3, "Its greatest depth is 254 metres."),
    ]

    result, bound = bind("The lake covers 48 square kilometres and its greatest depth is 254 metres.", notes)

    assert result.verdict == "supported"
    assert {note.id for note in bound} == {"n.1", "n.3"}


def test_one_note_is_enough_when_it_carries_the_sentence() -> None:
    notes = [_note(1, "The lake is in the valley."), _note(2, "The lake covers 48 square kilometres.")]

    _, bound = bind("The lake covers 48 square kilometres.", notes)

    assert [note.id for note in bound] == ["n.2"]


@pytest.mark.parametrize(
    "broken",
    [
        "The default value is.",
        "The default value is",
        "It is used to.",
        "The option, and.",
        "",
        "Yes.",
        "A turn and the.",
        "The estimate assumes a surface code cycle,.",
        "The estimate of 2019 (.",
        "The port is 5432 " + "and so on " * 25 + "here.",
    ],
)
def test_a_sentence_that_breaks_off_is_no_sentence(broken: str) -> None:
    assert clean_sentence(broken) is None


def test_a_preamble_is_taken_off() -> None:
    assert clean_sentence("Based on the evidence provided, the port is 5432.") == "The port is 5432."
    assert clean_sentence("The evidence states that the port is 5432.") == "The port is 5432."
