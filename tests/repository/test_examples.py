"""Each example prints what its docstring claims, within 80 lines, and has its line in the README beside them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

EXPECTED = {
    "01_ping_pong": ["ping 1", "pong 1", "ping 2", "pong 2", "ping 3", "pong 3"],
    "02_typed_ask": ["the sum is 42.0", "converted from a plain dict: 3.0"],
    "03_topics": ["dashboard: oslo is at -4 °C", "alarm: frost in oslo", "dashboard: rome is at 17 °C"],
    "04_capability": ["agent = toimija", "message = viesti", "turn = vuoro", "nobody answers to"],
    "05_deferred_reply": ["100 orders served; the last: soup, order 100"],
    "06_shared_state": ["20 deposits by 4 tellers: balance 200, version 20"],
    "07_function_agents": ["HELLO, MOOT!"],
    "10_flow_control": [
        "block: 100 handled, 0 lost; the last price shown is 99",
        "fail: 10 handled, 90 lost; the last price shown is 9",
        "drop_newest: 10 handled, 90 lost; the last price shown is 9",
        "drop_oldest: 10 handled, 90 lost; the last price shown is 99",
        "drop_lowest: 10 handled, 90 lost; the last price shown is 29",
        "coalesce: 10 handled, 90 lost; the last price shown is 99",
        "100 messages in 4 batches",
    ],
    "11_circuit_breaker": [
        "3 failures, 5 asks stopped, 3 reached the translator",
        "the breaker is open",
        "moot = käräjät",
    ],
    "12_deadlock": ["deadlock: alice -> bob -> carol -> alice", "2 of 3 were answered"],
    "13_supervision": ["2 readings kept, connection 1", "the line is dead", "3 readings kept, connection 2"],
    "14_simulation": ["190 of 200", "it takes 1 fault: drop@teller>bob#1", "one turn for both: 100 seeds hold"],
    "15_survives_a_kill": ["first life: killed by signal 9", "sold 6 of 6", "paid, once each: 0 1 2 3 4 5"],
    "16_replication": [
        "cut off: ['fog', 'ship'] and ['ship', 'storm']",
        "harbour: ['ship', 'storm'], stock 9",
        "island: ['ship', 'storm'], stock 9",
    ],
    "17_pipeline": ["4 texts: [5, 2, 4, 3] words"],
    "18_scatter_gather": ["3 answers, the best 40 from shop_1"],
    "19_map_reduce": [
        "{'agents': 2, 'and': 2, 'bargain': 2, 'decide': 1, 'meet': 3}",
        "done by: ann, ben, summer - attempts in vain: 2",
    ],
    "20_hierarchy": ["words: 24", "north_2 did 2, north_1 failed 1"],
    "21_contract_net": ["the roof is mended by ann for 40 (bob had failed)", "dora's proposal is rejected"],
    "22_auction": [
        "english: cid wins and pays 70.00",
        "vickrey: cid wins and pays 72.00",
        "a transcript of 8 entries, and it is true",
        "changed at entry 0: it does not continue what stands before it",
    ],
    "23_voting": [
        "by schulze: hills > town > sea; by plurality: sea",
        "'moon', who is no candidate",
        "absent: ['eve']",
    ],
    "24_debate": [
        "round 1: 5 cents, 10 cents, 5 cents\nround 2: 5 cents, 5 cents, 5 cents\n-> agreed: 5 cents",
        "-> judged: water",
    ],
    "25_group_chat": ["billing: It was paid twice; here is your money.\n-> done", "-> ping_pong"],
    "26_blackboard": [
        "solved: assembly, of em, as, bly, s",
        "4 fragments, and more candidates than words",
    ],
    "27_saga": ["Rome: booked hotel room 1, seat 1, car 1", "Oslo: no car is left; gave back flight, hotel"],
    "28_flock": ["order 0.05 at first, 1.00 after 600 ticks", "noise 1: order 0.95", "noise 5: order 0.0"],
    "29_swarm_agents": ["60 boids, order 0.06", "order 1.00 after 200 ticks, 59 heard of, silent: swarm_7"],
    "30_patterns_at_once": ["run 2: the name is Moot, the date is May", "(8 questions in all)"],
}

TESTED_ELSEWHERE = {"08_research_team", "09_reference_design"}
"""The first in `tests/teams`, beside its team; the second below, since it runs until it is told to stop."""


def run(example: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{example}.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXPECTED)
def test_an_example_prints_what_it_claims(example: str) -> None:
    printed = run(example)

    for line in EXPECTED[example]:
        assert line in printed


def test_the_translations_are_shared_between_two_translators() -> None:
    printed = run("04_capability")

    assert "by translator_1" in printed
    assert "by translator_2" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_reference_design_reports_and_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    command = [sys.executable, "-u", "-W", "error", str(EXAMPLES / "09_reference_design.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert process.poll() is None

        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)

    assert lines == [
        "researcher_1: ['note 1 on quantum computing', 'note 2 on quantum computing', 'note 3 on quantum computing']\n",
        "analyst_1: 3 notes agree\n",
        "writer_1: a report on quantum computing: 3 notes agree\n",
    ]
    assert (rest, errors, process.returncode) == ("", "", 0)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_prints(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) < 80
    assert text.startswith('"""')
    assert "Prints: " in text.split('"""')[1]


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(EXPECTED) | TESTED_ELSEWHERE


def test_the_numbers_have_no_gap() -> None:
    numbers = [int(path.stem.partition("_")[0]) for path in sorted(EXAMPLES.glob("*.py"))]

    assert numbers == list(range(1, len(numbers) + 1))


def test_the_readme_lists_exactly_the_examples_in_reading_order() -> None:
    listed = re.findall(r"^\| \[`(\w+\.py)`\]\(\1\) \| .+ \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    assert listed == sorted(path.name for path in EXAMPLES.glob("*.py"))
