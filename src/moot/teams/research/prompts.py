"""The prompts that worked, word for word, with the grammars that bound their answers.

The system line and the instructions are constant, so that the engine's prefix
cache keeps them; the model is never asked for citation numbers or quotes (it
invents both): code binds them. Grammars, not JSON schemas: small models waste
half of a short answer on pretty-printed braces. Where an engine has no
grammars, the answer is plain text, cut to the same shape afterwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from moot.engine.base import ChatMessage, Completion, EngineRequest, SamplingParams
from moot.teams.research.evidence.support import LONGEST_SENTENCE
from moot.teams.research.text.stems import content_stems, overlap, plain
from moot.teams.research.values import Note

__all__ = [
    "details_request",
    "direct_request",
    "judge_margin",
    "judge_request",
    "keyword_lines",
    "keywords_request",
    "sentences_of",
]

SYSTEM = "You judge and summarise evidence for a research team. You rely only on the text you are given."

DIRECT = (
    "Answer the question in one or two plain sentences. State the fact itself, with its numbers and names. "
    "Use only the evidence above."
)
DIRECT_GRAMMAR = f'root ::= s (" " s)?\ns ::= [A-Z0-9] [^\\[\\]\\n]{{15,{LONGEST_SENTENCE}}} "."\n'

DETAILS = (
    "Write the answer to the question in 1 to 3 short, clear sentences, one per line, the direct answer first. "
    "Use only facts from the evidence that answer the question; leave out the rest."
)
DETAILS_GRAMMAR = f'root ::= l l? l?\nl ::= [A-Z0-9] [^\\[\\]\\n]{{15,{LONGEST_SENTENCE}}} ".\\n"\n'

KEYWORDS = (
    "Write 3 short keyword queries (2 to 5 words each) that would find passages answering the question. "
    "Use other words than the question where an author might.\n\n"
    "Question: How do I stop a program from starting when the computer boots?\n"
    "disable service at startup\nremove boot script\nautostart settings\n\n"
)
KEYWORDS_GRAMMAR = 'root ::= l l l\nl ::= [A-Za-z0-9] [A-Za-z0-9_ \\-]{3,50} "\\n"\n'

JUDGE = "Does the text fully support the claim? Answer yes or no."
JUDGE_GRAMMAR = 'root ::= "yes" | "no"\n'

_MOST_WORDS = 55
_SAME_QUERY = 0.5
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_CITATION = re.compile(r"\s*\[[^\]]*\]")


def keywords_request(question: str, *, has_grammar: bool) -> EngineRequest:
    """Other words for a question."""
    return _request(f"{KEYWORDS}Question: {question}\n", 48, KEYWORDS_GRAMMAR if has_grammar else None)


def direct_request(question: str, notes: Sequence[Note], *, has_grammar: bool) -> EngineRequest:
    """The answer in one or two sentences."""
    return _request(f"{_board(question, notes)}\n{DIRECT}", 90, DIRECT_GRAMMAR if has_grammar else None)


def details_request(question: str, notes: Sequence[Note], *, has_grammar: bool) -> EngineRequest:
    """The answer in up to three lines; the board is the same as for the direct answer, so it is cached."""
    return _request(f"{_board(question, notes)}\n{DETAILS}", 150, DETAILS_GRAMMAR if has_grammar else None)


def judge_request(claim: str, notes: Sequence[Note], *, has_grammar: bool) -> EngineRequest:
    """Yes or no, with the probabilities of both."""
    text = "\n".join(f"Text ({note.place}): {_short(note.quote)}" for note in notes)
    request = _request(f"{text}\nClaim: {claim}\n{JUDGE}", 2, JUDGE_GRAMMAR if has_grammar else None)
    return EngineRequest(
        messages=request.messages,
        sampling=SamplingParams(max_tokens=2, seed=1, logprobs=10),
        grammar=request.grammar,
    )


def judge_margin(completion: Completion) -> float | None:
    """Log-odds of yes over no, from the first token; None when the engine gave no probabilities.

    They come from before the grammar's mask, so spellings ("Yes", " yes") are put together.
    """
    if not completion.logprobs:
        return None
    yes = _best(completion.logprobs[0], "yes")
    no = _best(completion.logprobs[0], "no")
    if yes == no == -math.inf:
        return None
    floor = min(completion.logprobs[0].values()) - 1.0
    return max(yes, floor) - max(no, floor)


def keyword_lines(text: str) -> tuple[str, ...]:
    """Up to three keyword queries of a completion; one much like an earlier one is left out."""
    kept: list[tuple[str, frozenset[str]]] = []
    for raw in text.splitlines():
        line = re.sub(r"^[\s\d.)*-]+", "", raw).strip(" \"'.")
        words = frozenset(content_stems(line))
        if 3 <= len(line) <= 60 and words and all(overlap(words, other) <= _SAME_QUERY for _, other in kept):
            kept.append((line, words))
    return tuple(line for line, _ in kept[:3])


def sentences_of(text: str) -> list[str]:
    """Sentences of a completion, without citations that the model made up."""
    bare = _CITATION.sub("", text)
    return [sentence.strip() for line in bare.splitlines() for sentence in _SENTENCE.split(line) if sentence.strip()]


def _board(question: str, notes: Sequence[Note]) -> str:
    lines = (f"[{number}] ({note.place}) {_short(note.quote)}" for number, note in enumerate(notes, start=1))
    return f"Question: {question}\n\nEvidence:\n" + "\n".join(lines) + "\n"


def _short(quote: str) -> str:
    words = plain(quote).split()
    return " ".join(words[:_MOST_WORDS]) + (" \u2026" if len(words) > _MOST_WORDS else "")


def _request(text: str, max_tokens: int, grammar: str | None) -> EngineRequest:
    return EngineRequest(
        messages=(ChatMessage("system", SYSTEM), ChatMessage("user", text)),
        sampling=SamplingParams(temperature=0.0, max_tokens=max_tokens, seed=1),
        grammar=grammar,
    )


def _best(logprobs: Mapping[str, float], word: str) -> float:
    return max((value for token, value in logprobs.items() if token.strip().lower() == word), default=-math.inf)
