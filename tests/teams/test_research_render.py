"""The report is Markdown whose footnotes are quotes, and JSON with everything; untrusted text stays text."""

from __future__ import annotations

import json
import re

import msgspec

from moot.teams.research import Claim, Difference, Note, Report, Statistics, to_json, to_markdown
from moot.teams.research.values import AgentUse, IndexedFile, SkippedFile


def _note(number: int, quote: str, path: str = "docs/a.md", headings: tuple[str, ...] = ("Lake", "Depth")) -> Note:
    return Note(
        id=f"n.{number}",
        quote=quote,
        path=path,
        title=f"Title of {path}",
        line=7,
        end_line=8,
        start=10,
        end=40,
        headings=headings,
        score=1.0 / number,
    )


REPORT = Report(
    question="How deep is the lake?",
    status="answered",
    model="test-model",
    mode="full",
    claims=(
        Claim(text="The lake is 254 metres deep.", verdict="supported", cov=1.0, notes=("n.2", "n.1"), margin=2.0),
        Claim(
            text="It is cold.", verdict="weak", cov=0.5, notes=("n.1",), reasons=("only 50% …",), disputed_by=("n.3",)
        ),
    ),
    notes=(
        _note(1, "The lake is deep."),
        _note(2, "Its depth is 254 metres.", "docs/b.html"),
        _note(3, "It is never cold; 250 m."),
    ),
    differences=(Difference(kind="figures", notes=("n.2", "n.3"), values=("254 metres", "250 m")),),
    missing=("fish",),
    indexed=(IndexedFile(path="docs/a.md", kind="markdown", passages=3, words=90, remark="decoded as cp1252"),),
    skipped=(SkippedFile("docs/c.png", "unsupported type .png"),),
    extracted={"docs/b.html": "/cache/b.txt"},
    statistics=Statistics(
        seconds=12.5,
        messages=9,
        turns=5,
        agents=(AgentUse(agent="writer_1", calls=2, fresh_tokens=300, cached_tokens=40, completion_tokens=25),),
        agent_seconds={"writer_1": 11.0},
        kept=2,
        dropped={"said already": 1},
    ),
)


def test_every_claim_carries_footnotes_and_every_footnote_is_a_quote_with_its_place() -> None:
    text = to_markdown(REPORT)

    assert (
        "**Answer.** The lake is 254 metres deep.[^1][^2] It is cold.[^2] *(partly supported)* *(disputed[^3])*" in text
    )
    assert '[^1]: "Its depth is 254 metres." — docs/b.html (its text: /cache/b.txt:7-8), Lake > Depth' in text
    assert '[^2]: "The lake is deep." — docs/a.md:7-8, Lake > Depth' in text
    used = set(re.findall(r"\[\^(\d+)\]", text))
    defined = set(re.findall(r"^\[\^(\d+)\]:", text, re.MULTILINE))
    assert used == defined == {"1", "2", "3"}


def test_differences_gaps_sources_and_the_run_are_told() -> None:
    text = to_markdown(REPORT)

    assert "## Sources differ\n\n- **254 metres** against **250 m**:" in text
    assert "## Not found\n\nNo evidence for: fish." in text
    assert "- skipped: `docs/c.png` (unsupported type .png)" in text
    assert "- read with a remark: `docs/a.md` (decoded as cp1252)" in text
    assert "model test-model · 12.5 s · 9 messages, 5 turns · 2 engine calls: 300 fresh, 40 cached, 25 written" in text
    assert "Dropped: 1× said already." in text
    assert "Time per agent: writer_1 11.0 s." in text


def test_quotes_stand_under_the_answer_always() -> None:
    text = to_markdown(REPORT)

    quotes = text[text.index("## What the sources say") : text.index("\n[^1]:")]
    assert all(note.quote in quotes for note in REPORT.notes)


def test_not_found_says_so_and_names_the_words() -> None:
    report = Report(question="Who?", status="not_found", coverage=0.3, missing=("laser",))

    text = to_markdown(report)

    assert "**Not found in the sources.** No passage speaks of: laser." in text
    assert "30%" in text
    assert "Answer" not in text


def test_extracts_and_partial_results_are_labelled_at_the_top() -> None:
    extracts = msgspec.structs.replace(REPORT, status="extracts", mode="extractive")
    partial = msgspec.structs.replace(REPORT, status="partial", notices=("The engine failed: gone",))

    assert "> **Extracts.**" in to_markdown(extracts).split("**Answer.**")[0]
    assert "> **Partial result.**" in to_markdown(partial).split("**Answer.**")[0]
    assert "> The engine failed: gone" in to_markdown(partial)


def test_text_of_a_document_cannot_act() -> None:
    evil = "<script>alert(1)</script> ![x](http://evil.example/p.png) [^1] \x1b[2J\x9b31m \u202etxt"
    notes = (_note(1, evil, path="docs/\x1b[31m.md"), *REPORT.notes[1:])
    report = msgspec.structs.replace(REPORT, notes=notes, skipped=(SkippedFile("\x1b]0;x\x07.txt", "binary"),))

    text = to_markdown(report)

    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\u202e" not in text
    assert re.search(r"(?<!\\)<script", text) is None
    assert re.search(r"(?<!\\|!)!\[", text) is None
    assert "\\[^1]" in text


def test_json_has_verdicts_reasons_spans_and_footnote_numbers() -> None:
    fields = json.loads(to_json(REPORT))

    assert fields["claims"][1]["verdict"] == "weak"
    assert fields["claims"][1]["reasons"] == ["only 50% …"]
    assert fields["claims"][0]["cov"] == 1.0
    assert {key: fields["notes"][0][key] for key in ("path", "line", "end_line", "start", "end")} == {
        "path": "docs/a.md",
        "line": 7,
        "end_line": 8,
        "start": 10,
        "end": 40,
    }
    assert fields["footnotes"] == {"n.2": 1, "n.1": 2, "n.3": 3}
    assert fields["statistics"]["agents"][0]["fresh_tokens"] == 300
