"""Methods of voting: the published examples, an independent library, and the laws that each method is known for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
import votelib.convert as theirs
from hypothesis import assume, given
from hypothesis import strategies as st
from votelib.component.rankscore import Borda as TheirBorda
from votelib.evaluate.condorcet import Schulze as TheirSchulze
from votelib.evaluate.sequential import TransferableVoteSelector

from moot.patterns.voting import (
    METHODS,
    Approval,
    Ballot,
    Borda,
    InstantRunoff,
    Method,
    Plurality,
    Schulze,
    ballot_of,
    pairwise,
    strongest_paths,
)

FIVE = "ABCDE"
SCHULZE_2011 = {"ACBED": 5, "ADECB": 5, "BEDAC": 8, "CABED": 3, "CAEBD": 7, "CBADE": 2, "DCEBA": 7, "EBADC": 8}
TENNESSEE = {"MNCK": 42, "NCKM": 26, "CKNM": 15, "KCNM": 17}
LINEAR: list[Method] = [Plurality(), Borda(), Schulze(), InstantRunoff()]

orders = st.permutations(FIVE).map("".join)
partial_orders = st.tuples(orders, st.integers(1, 5)).map(lambda drawn: drawn[0][: drawn[1]])


@st.composite
def level_ballots(draw: st.DrawFn) -> Ballot:
    """A ballot with some left out and some level."""
    order = draw(partial_orders)
    cuts = draw(st.lists(st.booleans(), min_size=len(order) - 1, max_size=len(order) - 1))
    places = [[order[0]]]
    for name, is_new in zip(order[1:], cuts, strict=True):
        places = [*places, [name]] if is_new else [*places[:-1], [*places[-1], name]]
    return Ballot.ranked(*places)


profiles = st.lists(orders, min_size=1, max_size=25)
weighed_profiles = st.dictionaries(orders, st.integers(1, 1000), min_size=1, max_size=12)
"""Complete ballots by their number; few of them are level."""
level_profiles = st.lists(level_ballots(), min_size=1, max_size=25)


def ballots_of(profile: Sequence[str]) -> list[Ballot]:
    return [Ballot.ranked(*order) for order in profile]


def weighed(profile: dict[str, int]) -> dict[str, Any]:
    return {
        "ballots": ballots_of(list(profile)),
        "candidates": sorted(next(iter(profile))),
        "weights": list(profile.values()),
    }


def single(places: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name,) for name in places)


# what is published


def test_schulzes_example_of_45_voters_gives_e_a_c_b_d() -> None:
    tally = Schulze().tally(**weighed(SCHULZE_2011))

    assert tally.ranking == single("EACBD")
    assert tally.elected == "E"


def test_the_strongest_paths_are_those_of_schulzes_paper() -> None:
    given_ = weighed(SCHULZE_2011)

    paths = strongest_paths(pairwise(given_["ballots"], FIVE, weights=given_["weights"]))

    assert {a: [paths[a][b] for b in FIVE if b != a] for a in FIVE} == {
        "A": [28, 28, 30, 24],
        "B": [25, 28, 33, 24],
        "C": [25, 29, 29, 24],
        "D": [25, 28, 28, 24],
        "E": [25, 28, 28, 31],
    }


def test_tennessees_capital_is_another_town_by_each_method() -> None:
    elected = {method.name: method.tally(**weighed(TENNESSEE)).elected for method in LINEAR}

    assert elected == {"plurality": "M", "borda": "N", "schulze": "N", "instant_runoff": "K"}
    assert Borda().tally(**weighed(TENNESSEE)).scores == {"M": 126.0, "N": 194.0, "C": 173.0, "K": 107.0}


def test_the_rounds_of_a_runoff_can_be_followed() -> None:
    rounds = InstantRunoff().tally(**weighed(TENNESSEE)).rounds

    assert rounds[:3] == ({"C": 15, "K": 17, "M": 42, "N": 26}, {"K": 32, "M": 42, "N": 26}, {"K": 58, "M": 42})


# what an independent library says


@given(level_profiles)
def test_pairwise_votes_and_strongest_paths_are_those_of_votelib(ballots: list[Ballot]) -> None:
    votes = Counter(
        tuple(place[0] if len(place) == 1 else frozenset(place) for place in ballot.ranking) for ballot in ballots
    )
    named = sorted({name for ballot in ballots for place in ballot.ranking for name in place})
    counts = theirs.RankedToCondorcetVotes().convert(votes)
    their_paths = TheirSchulze.widest_paths(counts)

    ours = pairwise(ballots, named)
    paths = strongest_paths(ours)

    for pair in permutations(named, 2):
        assert ours[pair[0]][pair[1]] == counts.get(pair, 0)
        assert paths[pair[0]][pair[1]] == their_paths.get(pair, 0)


@given(weighed_profiles)
def test_a_strict_schulze_ranking_is_that_of_votelib(profile: dict[str, int]) -> None:
    ours = Schulze().tally(**weighed(profile))
    assume(len(set(ours.scores.values())) == len(FIVE))

    votes = theirs.RankedToCondorcetVotes().convert({tuple(order): number for order, number in profile.items()})

    assert ours.ranking == single("".join(TheirSchulze().evaluate(votes, 5)))


@given(profiles)
def test_borda_and_plurality_scores_are_those_of_votelib(profile: list[str]) -> None:
    votes = Counter(map(tuple, profile))

    borda = theirs.RankedToPositionalVotes(TheirBorda(base=0)).convert(votes)
    first = theirs.RankedToFirstPreference().convert(votes)

    assert Borda().tally(ballots_of(profile), FIVE).scores == borda
    assert Plurality().tally(ballots_of(profile), FIVE).scores == {name: first.get(name, 0) for name in FIVE}


@given(st.lists(st.frozensets(st.sampled_from(FIVE), min_size=1), min_size=1, max_size=25))
def test_approval_scores_are_those_of_votelib(profile: list[frozenset[str]]) -> None:
    found = theirs.ApprovalToSimpleVotes().convert(Counter(profile))

    tally = Approval().tally([Ballot.approving(*sorted(names)) for names in profile], FIVE)

    assert tally.scores == {name: found.get(name, 0) for name in FIVE}


@given(weighed_profiles)
def test_a_runoff_in_which_nobody_is_level_elects_whom_votelib_elects(profile: dict[str, int]) -> None:
    tally = InstantRunoff().tally(**weighed(profile))
    assume(all(is_single(votes) for votes in tally.rounds))

    votes = {tuple(order): number for order, number in profile.items()}

    assert list(tally.winners) == TransferableVoteSelector().evaluate(votes, 1)


def is_single(votes: dict[str, int]) -> bool:
    """Whether one candidate is the lowest."""
    return list(votes.values()).count(min(votes.values())) == 1


def runoff_winner(profile: list[str], left: str) -> str:
    """The plainest runoff: cross out who is lowest, and look again."""
    votes = {name: sum(order.startswith(name) for order in profile) for name in left}
    lowest = min(left, key=lambda name: (votes[name], name))
    return left if len(left) == 1 else runoff_winner([o.replace(lowest, "") for o in profile], left.replace(lowest, ""))


@given(st.dictionaries(partial_orders, st.integers(1, 30), min_size=1, max_size=12))
def test_a_runoff_of_partial_ballots_is_that_of_crossing_out(numbers: dict[str, int]) -> None:
    profile = [order for order, number in numbers.items() for _ in range(number)]
    tally = InstantRunoff().tally(ballots_of(profile), FIVE)
    assume(all(min(votes.values()) == 0 or is_single(votes) for votes in tally.rounds))

    assert tally.winners == (runoff_winner(profile, FIVE),)


# laws


@given(profiles, st.randoms(use_true_random=False), st.sampled_from(LINEAR))
def test_who_cast_which_ballot_does_not_matter(profile: list[str], random: Any, method: Method) -> None:
    other = list(profile)
    random.shuffle(other)

    assert method.tally(ballots_of(other), FIVE) == method.tally(ballots_of(profile), FIVE)


@given(profiles, orders, st.sampled_from([Plurality(), Borda(), Schulze()]))
def test_names_do_not_matter(profile: list[str], renamed: str, method: Method) -> None:
    names = str.maketrans(FIVE, renamed)

    before = method.tally(ballots_of(profile), FIVE)
    after = method.tally(ballots_of([order.translate(names) for order in profile]), FIVE)

    assert [sorted(place) for place in after.ranking] == [
        sorted("".join(place).translate(names)) for place in before.ranking
    ]


@given(profiles, orders)
def test_names_matter_to_a_runoff_only_where_a_lot_is_drawn(profile: list[str], renamed: str) -> None:
    names = str.maketrans(FIVE, renamed)
    before = InstantRunoff().tally(ballots_of(profile), FIVE)
    after = InstantRunoff().tally(ballots_of([order.translate(names) for order in profile]), FIVE)
    assume(not before.lots)

    assert not after.lots
    assert sorted(after.winners) == sorted("".join(before.winners).translate(names))


@given(profiles, st.permutations(FIVE), st.sampled_from(LINEAR))
def test_the_order_of_the_candidates_does_not_matter(profile: list[str], order: list[str], method: Method) -> None:
    before, after = (method.tally(ballots_of(profile), names, seed=7) for names in (FIVE, order))

    assert after.elected == before.elected
    assert [set(place) for place in after.ranking] == [set(place) for place in before.ranking]


@given(level_profiles)
def test_schulze_elects_whoever_beats_all_others(ballots: list[Ballot]) -> None:
    votes = pairwise(ballots, FIVE)
    beats_all = [a for a in FIVE if all(votes[a][b] > votes[b][a] for b in FIVE if b != a)]
    assume(beats_all)

    assert list(Schulze().tally(ballots, FIVE).winners) == beats_all


@given(level_profiles)
def test_a_schulze_ranking_contradicts_no_comparison_of_paths(ballots: list[Ballot]) -> None:
    paths = strongest_paths(pairwise(ballots, FIVE))
    place = {name: n for n, names in enumerate(Schulze().tally(ballots, FIVE).ranking) for name in names}

    assert all(place[a] < place[b] for a, b in permutations(FIVE, 2) if paths[a][b] > paths[b][a])


@given(st.sampled_from(FIVE), profiles, st.sampled_from([Plurality(), Schulze(), InstantRunoff()]))
def test_the_first_choice_of_a_majority_wins(name: str, profile: list[str], method: Method) -> None:
    majority = [name + order.replace(name, "") for order in [*profile, "ABCDE"]]

    assert method.tally(ballots_of([*profile, *majority]), FIVE).winners == (name,)


@given(profiles, st.data())
def test_a_winner_does_not_lose_by_being_placed_higher(profile: list[str], data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([Plurality(), Borda(), Schulze()]))
    winner = method.tally(ballots_of(profile), FIVE).winners[0]
    index = data.draw(st.integers(0, len(profile) - 1))
    rest = profile[index].replace(winner, "")
    higher = data.draw(st.integers(0, profile[index].index(winner)))
    raised = [*profile[:index], rest[:higher] + winner + rest[higher:], *profile[index + 1 :]]

    assert winner in method.tally(ballots_of(raised), FIVE).winners


@given(level_profiles, st.data(), st.sampled_from([Approval(), Borda(), Schulze()]))
def test_a_weight_is_so_many_ballots(ballots: list[Ballot], data: st.DataObject, method: Method) -> None:
    weights = data.draw(st.lists(st.integers(1, 4), min_size=len(ballots), max_size=len(ballots)))
    repeated = [ballot for ballot, weight in zip(ballots, weights, strict=True) for _ in range(weight)]

    by_weight = method.tally(ballots, FIVE, weights=weights)
    by_number = method.tally(repeated, FIVE)

    assert (by_weight.ranking, by_weight.scores) == (by_number.ranking, by_number.scores)


@given(level_profiles, st.sampled_from(list(METHODS.values())), st.integers(0, 2**63))
def test_every_count_ranks_each_candidate_once_and_elects_a_winner(
    ballots: list[Ballot], method: Method, seed: int
) -> None:
    tally = method.tally(ballots, FIVE, seed=seed)

    assert sorted(name for place in tally.ranking for name in place) == list(FIVE)
    assert all(tally.ranking)
    assert tally.valid + len(tally.invalid) == len(ballots)
    assert (tally.elected in tally.winners) if tally.valid else (tally.elected is None and tally.winners == ())
    assert method.tally(ballots, FIVE, seed=tally.seed) == tally


# ties and invalid ballots


def test_a_tie_is_told_and_broken_by_the_lot_of_a_seed() -> None:
    ballots = ballots_of(["AB", "BA"])

    tallies = [Plurality().tally(ballots, "AB", seed=seed) for seed in range(100)]

    assert {tally.winners for tally in tallies} == {("A", "B")}
    assert 30 < Counter(tally.elected for tally in tallies)["A"] < 70


def test_a_runoff_eliminates_whoever_had_fewer_votes_before_and_only_then_by_lot() -> None:
    before = InstantRunoff().tally(ballots_of(["AB"] * 5 + ["BA"] * 4 + ["CA"] * 3 + ["DC"]), "ABCD")
    lot = InstantRunoff().tally(ballots_of(["A"] * 2 + ["B", "C"]), "ABC")

    assert before.rounds[1] == {"A": 5, "B": 4, "C": 4}
    assert (before.lots, before.ranking[1]) == ((), ("B",))
    assert len(lot.lots) == 1


def test_candidates_without_votes_go_together_and_by_no_lot() -> None:
    tally = InstantRunoff().tally(ballots_of(["A", "A", "B"]), FIVE)

    assert (tally.ranking, tally.lots) == ((("A",), ("B",), ("C", "D", "E")), ())


@pytest.mark.parametrize(
    ("method", "ballot", "reason"),
    [
        (Schulze(), Ballot.ranked("A", "Z"), "'Z', who is no candidate"),
        (Schulze(), Ballot.ranked("A", "B", "A"), "'A' more than once"),
        (Schulze(), Ballot.ranked("A", ()), "places is empty"),
        (Schulze(), Ballot(), "is empty"),
        (Schulze(), Ballot(approves=("A",)), "ranks nobody"),
        (Borda(), Ballot(approves=("A",)), "ranks nobody"),
        (Approval(), Ballot.ranked("A", approves=["B", "B"]), "'B' more than once"),
        (Approval(), Ballot.ranked("A", approves=["Z"]), "'Z', who is no candidate"),
        (Plurality(), Ballot.ranked(["A", "B"], "C"), "first place"),
        (InstantRunoff(), Ballot.ranked("A", ["B", "C"]), "share a place"),
    ],
)
def test_an_invalid_ballot_is_counted_as_invalid_with_its_reason(method: Method, ballot: Ballot, reason: str) -> None:
    tally = method.tally([Ballot.ranked("C"), ballot], "ABC")

    assert (tally.valid, tally.winners) == (1, ("C",))
    assert tally.invalid[0].index == 1
    assert reason in tally.invalid[0].reason


def test_who_ranks_fewer_gains_nothing_under_borda() -> None:
    assert Borda().tally([Ballot.ranked("A")], "ABC").scores == {"A": 2.0, "B": 0.5, "C": 0.5}


def test_a_blank_approval_ballot_is_valid_and_approves_of_nobody() -> None:
    tally = Approval().tally([Ballot.ranked("A", "B", approves=[])], "AB")

    assert (tally.valid, tally.scores) == (1, {"A": 0.0, "B": 0.0})


@pytest.mark.parametrize(
    ("answer", "ballot"),
    [
        (["A", ["B", "C"]], Ballot.ranked("A", ["B", "C"])),
        (("A", "B"), Ballot.ranked("A", "B")),
        ({"ranking": [["A"]], "approves": None}, Ballot.ranked("A")),
    ],
)
def test_an_answer_may_be_plain(answer: Any, ballot: Ballot) -> None:
    assert ballot_of(answer) == ballot


UNCHECKED: Any = 3  # a frozen value is not checked when it is made


@pytest.mark.parametrize(
    "answer", [42, 10**40, None, "A", "\ud800", {"A", "B"}, [["A"], 3], Ballot(ranking=UNCHECKED), object()]
)
def test_rubbish_is_no_ballot(answer: Any) -> None:
    with pytest.raises(ValueError, match="answer with"):
        ballot_of(answer)


@pytest.mark.parametrize(("candidates", "weights"), [("", ()), ("AA", ()), ("AB", (1, 2)), ("AB", (0,)), ("AB", (-1,))])
def test_an_election_that_cannot_be_held_is_refused(candidates: str, weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"election needs candidates|as many weights|weighs a whole number"):
        Schulze().tally([Ballot.ranked("A")], candidates, weights=weights)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("weights", [(float("nan"), 1), (1.5, 1), (2**63 - 1, 1), (10**400, 1)])
def test_weights_that_cannot_be_added_up_are_refused(method: Method, weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="weigh"):
        method.tally([Ballot.ranked("A"), Ballot.ranked("B")], "AB", weights=weights)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_of_large_weights_the_larger_wins(method: Method) -> None:
    assert method.tally([Ballot.ranked("A"), Ballot.ranked("B")], "AB", weights=(2**53, 2**53 + 1)).winners == ("B",)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("name", ["", "\ud800"])
def test_a_name_without_a_readable_letter_is_no_candidate_either_and_harms_no_count(method: Method, name: str) -> None:
    stray, blank, good = Ballot.ranked(name), Ballot.ranked("A", approves=[name]), Ballot.ranked("A")

    tally = method.tally([stray, blank, good], "AB")

    assert [(flawed.index, "no candidate" in flawed.reason) for flawed in tally.invalid] == [(0, True), (1, True)]
    assert tally.elected == "A"


def test_a_lot_can_be_drawn_among_any_names() -> None:
    assert Approval().tally([Ballot.approving()], ["A", "\ud800"]).elected in ("A", "\ud800")
