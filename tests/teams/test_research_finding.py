"""Finding is deterministic: what the sources do not speak of is refused, and the rank puts the answer first.

Checked on the articles of ``examples/corpus`` and on small corpora made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from moot.teams.research.evidence.differences import differences, disputes
from moot.teams.research.messages import Topic
from moot.teams.research.retrieval.coverage import Coverage, coverage_of
from moot.teams.research.retrieval.find import find
from moot.teams.research.retrieval.question import is_overview, make_query, question_words, split_question
from moot.teams.research.retrieval.rank import rank_sentences
from moot.teams.research.sources.index import PassageIndex
from moot.teams.research.sources.ingest import SourceError, read_bytes
from moot.teams.research.text.figures import asked_units, figures
from moot.teams.research.text.stems import stems
from moot.teams.research.values import Note

CORPUS = Path(__file__).parents[2] / "examples" / "corpus"
QUBITS = "How many physical qubits would it take to factor a 2048-bit RSA integer, and how long would it take?"


@pytest.fixture(scope="module")
def corpus() -> Iterator[PassageIndex]:
    with closing(PassageIndex()) as index:
        index.fill([str(CORPUS)])
        yield index


Indexed = Callable[..., PassageIndex]


@pytest.fixture
def indexed() -> Iterator[Indexed]:
    """An index of texts, or of files with their names."""
    with ExitStack() as made:

        def index_of(*texts: str, **files: str) -> PassageIndex:
            index = made.enter_context(closing(PassageIndex()))
            for name, text in ({str(number): text for number, text in enumerate(texts)} | files).items():
                index.add(*read_bytes(f"{name}.md", text.encode()))
            return index

        yield index_of


def _coverage(index: PassageIndex, question: str) -> Coverage:
    return coverage_of(*find(index, Topic(0, question)))


def _notes(index: PassageIndex, question: str, limit: int = 6) -> list[Note]:
    return rank_sentences(*find(index, Topic(0, question)), limit=limit)


ANSWERABLE = [
    (QUBITS, "20 million"),
    ("How many noisy qubits are needed to factor RSA-2048?", "20 million"),
    ("How long would a classical supercomputer need for the sampling task of the Sycamore chip?", "10,000 years"),
    ("What is the threshold error rate of the surface code?", "0.75%"),
    ("How many qubits does the Willow chip have?", "105 qubits"),
    ("Which standards did NIST publish in August 2024?", "three post-quantum"),
    ("What coherence time was reported for a single trapped ion?", "10 minutes"),
    ("When did Lov Grover find his search algorithm?", "1996"),
    ("Who broke SIKE in 2022?", "Castryck"),
    ("How large is a public key of ML-KEM-768?", "1,184 bytes"),
    ("What does the no-cloning theorem forbid?", "Copying"),
    ("What would a large enough quantum computer break?", "break all three"),
]
UNANSWERABLE = [
    "Who invented the laser?",
    "How many people work at IBM?",
    "What is the capital of Mongolia?",
    "Does quantum computing threaten Bitcoin?",
    "How do I bake sourdough bread?",
    "What did the stock market do in 2008?",
    "Which vaccine protects against measles?",
    "How tall is the Eiffel tower?",
]


@pytest.mark.parametrize(("question", "expected"), ANSWERABLE)
def test_the_question_is_covered_and_the_best_quotes_hold_the_answer(
    corpus: PassageIndex, question: str, expected: str
) -> None:
    assert _coverage(corpus, question).is_enough
    assert any(expected in note.quote for note in _notes(corpus, question, limit=4))


@pytest.mark.parametrize("question", UNANSWERABLE)
def test_what_no_source_speaks_of_is_refused(corpus: PassageIndex, question: str) -> None:
    coverage = _coverage(corpus, question)

    assert not coverage.is_enough
    assert coverage.missing


@pytest.mark.parametrize("copies", [0, 3, 30])
def test_coverage_is_judged_alike_from_one_page_to_many(indexed: Indexed, copies: int) -> None:
    filler = [f"# Filler {number}\n\nWords about item {number}, of no use to anybody." for number in range(copies)]
    index = indexed("# Pump\n\nThe pump is lubricated with castor oil every 40 hours.", *filler)

    assert _coverage(index, "How often is the pump lubricated?").is_enough
    assert not _coverage(index, "Which colour has the parachute?").is_enough
    assert not _coverage(index, "Who built the pump in Rotterdam?").is_enough


def test_a_bibliography_is_no_evidence(corpus: PassageIndex) -> None:
    best = _notes(corpus, QUBITS, limit=2)

    assert not any(note.headings[-1] == "Sources" for note in best)


def test_a_changelog_line_ranks_below_the_documentation(indexed: Indexed) -> None:
    index = indexed(
        changelog="# Changes\n\nThe default timeout of the server was 30 seconds once.",
        server="# Server\n\nThe default timeout of the server is 60 seconds.",
    )

    assert _notes(index, "What is the default timeout of the server?")[0].path == "server.md"


def test_a_passage_that_two_files_share_is_indexed_once(indexed: Indexed) -> None:
    index = indexed("# A\n\nThe very same words stand here.", "# B\n\nThe very same words stand here.")

    assert index.size == 1
    assert [file.passages for file in index.indexed] == [1, 0]


def test_index_and_query_agree_on_what_a_word_is(indexed: Indexed) -> None:
    index = indexed("# Settings\n\nSet max_connections for the DNS servers' pools.")

    for word in stems("max_connections connections DNS servers pool"):
        assert index.frequency(word) == 1, word


def test_words_that_are_operators_of_the_search_language_are_just_words(indexed: Indexed) -> None:
    index = indexed('# Near\n\nThe AND gate is NOT a "NEAR" gate; see title:x OR (y)*.')

    assert _notes(index, 'Is "AND" NEAR(gate NOT title: OR * ^ - a gate?')


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.md").touch()

    with closing(PassageIndex()) as index, pytest.raises(SourceError, match=r"nothing to read.*empty\.md: empty"):
        index.fill([str(tmp_path)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It needs 20 million noisy qubits.", [(2e7, {"noisi", "qubit"})]),
        ("Fewer than one million qubits in less than a week.", [(1e6, {"qubit"}), (604_800.0, {"<time>"})]),
        ("About 10,000 years on Summit, against 200 seconds.", [(3.156e11, {"<time>"}), (200.0, {"<time>"})]),
        ("The rate is 0.75% (or 1 per cent).", [(0.75, {"%"}), (1.0, {"%"})]),
        ("It was found in 1994 and published in 2021 by Nature.", []),
        ("A cache of 64 MB.", [(64e6, {"<bytes>"})]),
    ],
)
def test_figures_are_read_with_their_units(text: str, expected: list[tuple[float, set[str]]]) -> None:
    assert [(figure.value, set(figure.units)) for figure in figures(text)] == expected


def test_the_question_says_what_is_counted() -> None:
    assert asked_units("How many noisy physical qubits are needed?") == {"qubit"}
    assert asked_units(QUBITS) == {"qubit", "<time>"}
    assert asked_units("Who wrote it?") == set()


@pytest.mark.parametrize(
    ("question", "values"),
    [
        (QUBITS, {"20 million noisy physical qubits", "one million noisy physical qubits"}),
        (
            "How long would a classical supercomputer need for the sampling task of the Sycamore chip?",
            {"10,000 years", "2.5 days"},
        ),
    ],
)
def test_the_planted_contradictions_are_found(corpus: PassageIndex, question: str, values: set[str]) -> None:
    query, hits = find(corpus, Topic(0, question))

    found = differences(query, rank_sentences(query, hits, limit=9))

    assert values in [set(difference.values) for difference in found]


@pytest.mark.parametrize("question", [question for question, _ in ANSWERABLE[2:]])
def test_other_questions_of_the_corpus_raise_no_false_alarm(corpus: PassageIndex, question: str) -> None:
    query, hits = find(corpus, Topic(0, question))

    found = differences(query, rank_sentences(query, hits, limit=9))

    assert [set(item.values) for item in found if set(item.values) != {"10,000 years", "2.5 days"}] == []


def test_figures_that_agree_or_count_other_things_do_not_differ(indexed: Indexed) -> None:
    index = indexed(
        "# One\n\nThe bridge over the Elbe is 120 metres long and has 4 lanes.",
        "# Two\n\nThe bridge over the Elbe is 120 metres long, and 900 metres of road lead to it.",
        "# Three\n\nThe ferry over the Elbe has 12 lanes for 80 cars.",
    )
    query, hits = find(index, Topic(0, "How many metres long is the bridge over the Elbe?"))

    assert differences(query, rank_sentences(query, hits)) == []


def test_two_defaults_for_one_setting_differ(indexed: Indexed) -> None:
    index = indexed(
        "# Manual\n\nThe default idle timeout is 30 seconds.",
        "# Guide\n\nUnless it is changed, the default idle timeout is 2 minutes.",
    )
    query, hits = find(index, Topic(0, "What is the default idle timeout?"))

    (found,) = differences(query, rank_sentences(query, hits))

    assert set(found.values) == {"30 seconds", "2 minutes"}


def test_a_source_that_denies_what_another_affirms_differs(indexed: Indexed) -> None:
    index = indexed(
        "# Manual\n\nThe relief valve opens when the boiler overheats.",
        "# Errata\n\nThe relief valve does not open when the boiler overheats.",
    )
    query, hits = find(index, Topic(0, "Does the relief valve open when the boiler overheats?"))

    (found,) = differences(query, rank_sentences(query, hits))

    assert found.kind == "negation"


def test_a_claim_that_another_note_denies_is_disputed() -> None:
    def note(number: int, quote: str) -> Note:
        return Note(id=str(number), quote=quote, path="a", title="", line=1, end_line=1, start=0, end=1)

    notes = [note(1, "The valve opens under pressure."), note(2, "The valve does not open under pressure.")]

    assert disputes("The valve opens under pressure.", ["1"], notes) == ("2",)
    assert disputes("The pump is made of brass.", [], notes) == ()


def test_a_question_is_split_where_both_parts_stand_alone() -> None:
    assert split_question("Who founded Debian, and which licence does the Linux kernel have?") == (
        "Who founded Debian?",
        "which licence does the Linux kernel have?",
    )
    assert split_question(QUBITS) == (QUBITS,)
    assert split_question("What is a port and how?") == ("What is a port and how?",)


def test_a_subject_without_a_question_is_an_overview() -> None:
    assert is_overview("quantum supremacy")
    assert is_overview("How far is quantum computing from being useful?")
    assert not is_overview("How many qubits does Willow have?")


def test_keywords_weigh_less_than_the_question() -> None:
    query = make_query("Who is the author?", lambda _: 1.0, ["writer creator"])

    assert query.share(["author"]) == 1.0
    assert 0 < query.share(["writer"]) < 0.5


def test_the_question_keeps_its_own_words_for_its_stems() -> None:
    assert question_words("Who invented the lasers?") == {"invent": "invented", "laser": "lasers"}
