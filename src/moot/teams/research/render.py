"""The report as Markdown and as JSON.

The answer first, the quotes under it always: they are the real guarantee. A
footnote is the quote with its place, not a link to a heap. Quotes are text of
unknown origin, so control characters are removed and markup that could act is
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from moot.teams.research.values import Claim, Note, Report

__all__ = ["to_json", "to_markdown"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ACTIVE = re.compile(r"<(?=[a-zA-Z/!?])|\[(?=\^)|!(?=\[)")
_MOST_SKIPPED = 10


def to_json(report: Report) -> str:
    """The whole report, one footnote number for each note."""
    fields = msgspec.to_builtins(report)
    fields["footnotes"] = _Footnotes(report).numbers
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()


def to_markdown(report: Report) -> str:
    """The report for a reader."""
    footnotes = _Footnotes(report)
    parts = [f"# {_safe(report.question)}", *_header(report)]
    if report.status == "not_found":
        parts += _not_found(report)
    else:
        parts += [*_answer(report, footnotes), *_differences(report, footnotes), *_quotes(report, footnotes)]
        if report.missing:
            parts += ["## Not found", f"No evidence for: {', '.join(map(_safe, report.missing))}."]
    parts += [*footnotes.lines(report), *_sources(report), _run_line(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


class _Footnotes:
    """Numbers for the notes, in the order in which the report mentions them."""

    def __init__(self, report: Report) -> None:
        self.notes = {note.id: note for note in report.notes}
        order = [note_id for claim in report.claims for note_id in (*claim.notes, *claim.disputed_by)]
        order += [note_id for difference in report.differences for note_id in difference.notes]
        order += self.notes
        self.numbers = {
            note_id: number
            for number, note_id in enumerate((key for key in dict.fromkeys(order) if key in self.notes), start=1)
        }

    def marks(self, note_ids: Iterable[str]) -> str:
        """``[^1][^3]``."""
        return "".join(f"[^{self.numbers[note_id]}]" for note_id in note_ids if note_id in self.numbers)

    def lines(self, report: Report) -> list[str]:
        """The footnotes themselves."""
        return [
            f'[^{number}]: "{_safe(self.notes[note_id].quote)}" \u2014 {_place(self.notes[note_id], report)}'
            for note_id, number in self.numbers.items()
        ]


def _header(report: Report) -> list[str]:
    lines = []
    if report.status in ("answered", "partial") and report.mode == "direct":
        lines.append("> A small model wrote this; every sentence is checked against its quote by rules only.")
    if report.status == "extracts" or report.mode == "extractive":
        lines.append("> **Extracts.** No sentence below was written by a model; all are quotes from the sources.")
    if report.status == "partial":
        lines.append("> **Partial result.** The run ended before it was complete.")
    lines += [f"> {_safe(notice)}" for notice in report.notices]
    return lines


def _not_found(report: Report) -> list[str]:
    words = f" No passage speaks of: {', '.join(map(_safe, report.missing))}." if report.missing else ""
    return [
        f"**Not found in the sources.**{words}",
        f"The best passage covers {report.coverage:.0%} of what is asked, which is too little to answer from.",
    ]


def _answer(report: Report, footnotes: _Footnotes) -> list[str]:
    parts = []
    for topic in dict.fromkeys(claim.topic for claim in report.claims):
        claims = [claim for claim in report.claims if claim.topic == topic]
        parts.append("**Answer.** " + " ".join(_sentence(claim, footnotes) for claim in claims))
        parts.append(f"*{_confidence(claims, footnotes)}*")
    return parts


def _sentence(claim: Claim, footnotes: _Footnotes) -> str:
    text = f'"{_safe(claim.text)}"' if claim.is_quote else _safe(claim.text)
    marks = [text + footnotes.marks(claim.notes)]
    if claim.verdict != "supported":
        marks.append("*(partly supported)*")
    if claim.disputed_by:
        marks.append(f"*(disputed{footnotes.marks(claim.disputed_by)})*")
    return " ".join(marks)


def _confidence(claims: list[Claim], footnotes: _Footnotes) -> str:
    if all(claim.is_quote for claim in claims):
        return "Quoted from the best passage."
    if any(claim.verdict != "supported" for claim in claims):
        return "Partly supported by the quotes."
    paths = {footnotes.notes[note_id].path for claim in claims for note_id in claim.notes if note_id in footnotes.notes}
    return f"Supported by quotes from {len(paths)} sources." if len(paths) > 1 else "Supported by one source."


def _differences(report: Report, footnotes: _Footnotes) -> list[str]:
    if not report.differences:
        return []
    lines = ["## Sources differ"]
    for difference in report.differences:
        left, right = (footnotes.notes[note_id] for note_id in difference.notes)
        values = (
            f"**{_safe(difference.values[0])}** against **{_safe(difference.values[1])}**: "
            if difference.values[0]
            else ""
        )
        lines.append(
            f'- {values}"{_safe(left.quote)}"{footnotes.marks([left.id])} ({_safe(left.title)}), '
            f'but "{_safe(right.quote)}"{footnotes.marks([right.id])} ({_safe(right.title)})'
        )
    return ["\n".join([lines[0], "", *lines[1:]])]


def _quotes(report: Report, footnotes: _Footnotes) -> list[str]:
    if not report.notes:
        return []
    lines = ["## What the sources say", ""]
    for path in dict.fromkeys(footnotes.notes[note_id].path for note_id in footnotes.numbers):
        notes = [footnotes.notes[note_id] for note_id in footnotes.numbers if footnotes.notes[note_id].path == path]
        lines.append(f"- **{_safe(notes[0].title)}** (`{_safe(path)}`)")
        lines += [f'  - "{_safe(note.quote)}"{footnotes.marks([note.id])} line {note.line}' for note in notes]
    return ["\n".join(lines)]


def _place(note: Note, report: Report) -> str:
    lines = f"{note.line}" if note.line == note.end_line else f"{note.line}-{note.end_line}"
    heading = f", {_safe(' > '.join(note.headings))}" if note.headings else ""
    text_file = report.extracted.get(note.path)
    if text_file:
        return f"{_safe(note.path)} (its text: {text_file}:{lines}){heading}"
    return f"{_safe(note.path)}:{lines}{heading}"


def _sources(report: Report) -> list[str]:
    cited = dict.fromkeys(note.path for note in report.notes)
    read = f"{len(report.indexed)} files read, " if report.indexed else ""
    lines = [f"## Sources\n\n{read}{len(cited)} cited, {len(report.skipped)} skipped."]
    odd = [
        f"- read with a remark: `{_safe(file.path)}` ({_safe(file.remark)})" for file in report.indexed if file.remark
    ]
    skipped = [f"- skipped: `{_safe(file.path)}` ({_safe(file.reason)})" for file in report.skipped[:_MOST_SKIPPED]]
    if len(report.skipped) > _MOST_SKIPPED:
        skipped.append(f"- and {len(report.skipped) - _MOST_SKIPPED} more")
    if odd or skipped:
        lines.append("\n".join(odd[:_MOST_SKIPPED] + skipped))
    return lines


def _run_line(report: Report) -> str:
    statistics = report.statistics
    fresh = sum(use.fresh_tokens for use in statistics.agents)
    cached = sum(use.cached_tokens for use in statistics.agents)
    written = sum(use.completion_tokens for use in statistics.agents)
    calls = sum(use.calls for use in statistics.agents)
    parts = [
        f"model {report.model or 'none'}",
        f"{statistics.seconds:.1f} s",
        f"{statistics.messages} messages, {statistics.turns} turns",
        f"{calls} engine calls: {fresh} fresh, {cached} cached, {written} written tokens",
        f"{statistics.kept} sentences kept, {sum(statistics.dropped.values())} dropped",
    ]
    dropped = "; ".join(f"{count}\u00d7 {_safe(reason)}" for reason, count in sorted(statistics.dropped.items()))
    times = ", ".join(f"{agent} {seconds:.1f} s" for agent, seconds in statistics.agent_seconds.items())
    lines = ["---", " \u00b7 ".join(parts)]
    lines += [f"Dropped: {dropped}."] if dropped else []
    lines += [f"Time per agent: {times}."] if times else []
    return "\n\n".join(lines)


def _safe(text: str) -> str:
    return _ACTIVE.sub(lambda match: "\\" + match.group(), _CONTROL.sub(" ", text))
