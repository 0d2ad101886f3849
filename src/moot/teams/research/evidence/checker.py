"""The checker: every sentence of a model is bound to notes that carry it, or dropped with a reason.

The model never cites. Code finds the notes (at most three) whose quotes hold a
sentence's words, numbers, names and polarity; a sentence without such notes is
not printed. Where nothing is left, the best quote stands in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from moot.teams.research.evidence.differences import disputes
from moot.teams.research.evidence.support import bind, clean_sentence, support
from moot.teams.research.messages import Board
from moot.teams.research.text.stems import content_stems, numbers
from moot.teams.research.values import Claim, Note

__all__ = ["check", "judged", "quote_claim"]

_SAME = 0.8
_LONG = 50
_CORROBORATING = 2
_REJECT_MARGIN = -0.8


def check(sentences: Iterable[str], board: Board, known: Sequence[Claim], dropped: Counter[str]) -> list[Claim]:
    """Claims for the sentences that hold; the others are counted in ``dropped`` by reason.

    A partly supported sentence is kept only when no supported one is.
    """
    kept: list[Claim] = []
    weak: list[Claim] = []
    for sentence in sentences:
        claim = _claim(sentence, board, [*known, *kept], dropped)
        if claim is None:
            continue
        if claim.verdict == "supported":
            kept.append(claim)
        elif claim.verdict == "weak":
            weak.append(claim)
        else:
            dropped[claim.reasons[0] if claim.reasons else "unsupported"] += 1
    if kept or known:
        dropped.update({"only partly supported": len(weak)} if weak else {})
        return kept
    return weak[:1]


def judged(claim: Claim, margin: float | None) -> Claim | None:
    """The claim with the judge's margin; None when the judge is sure that it does not hold."""
    if margin is not None and margin < _REJECT_MARGIN:
        return None
    return msgspec.structs.replace(claim, margin=None if margin is None else round(margin, 2))


def quote_claim(board: Board) -> Claim:
    """The board's best note of readable length, word for word."""
    note = next((note for note in board.notes if len(note.quote.split()) <= _LONG), board.notes[0])
    return Claim(
        text=note.quote, verdict="supported", cov=1.0, notes=(note.id,), topic=board.topic.number, is_quote=True
    )


def _claim(sentence: str, board: Board, known: Sequence[Claim], dropped: Counter[str]) -> Claim | None:
    text = clean_sentence(sentence)
    if text is None:
        dropped["broken off"] += 1
        return None
    question = board.topic.question
    words = set(content_stems(text))
    if any(_is_in(text, words, claim.text) for claim in known):
        dropped["said already"] += 1
        return None
    if words <= set(content_stems(question)) and set(numbers(text)) <= set(numbers(question)):
        dropped["only repeats the question"] += 1
        return None
    result, notes = bind(text, board.notes, question)
    cited = (
        (*notes, *_corroborating(text, notes, (*board.notes, *board.echoes), question))
        if result.verdict == "supported"
        else notes
    )
    ids = tuple(note.id for note in cited)
    return Claim(
        text=text,
        verdict=result.verdict,
        cov=result.cov,
        notes=ids,
        reasons=result.reasons,
        disputed_by=disputes(text, ids, board.notes),
        topic=board.topic.number,
    )


def _is_in(text: str, words: set[str], known: str) -> bool:
    """Whether a sentence says no more than a known one: nearly all words of the shorter, and no number of its own."""
    others = set(content_stems(known))
    shorter = min(len(words), len(others)) or 1
    return len(words & others) / shorter > _SAME and set(numbers(text)) <= set(numbers(known))


def _corroborating(text: str, cited: Sequence[Note], notes: Sequence[Note], question: str) -> list[Note]:
    """Notes of other files that carry the sentence alone."""
    paths = {note.path for note in cited}
    found: list[Note] = []
    for note in notes:
        if note.path in paths or len(found) == _CORROBORATING:
            continue
        if support(text, [note.quote], note.frame, question).verdict == "supported":
            found.append(note)
            paths.add(note.path)
    return found
