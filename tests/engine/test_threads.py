"""Threads: all cores when idle, one fewer when busy, or as told."""

from __future__ import annotations

import pytest

from moot.engine.threads import choose_threads


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOOT_THREADS", raising=False)


@pytest.mark.parametrize(
    ("load", "cores", "threads"), [(0.1, 4, 4), (0.49, 2, 2), (0.5, 4, 3), (9.0, 2, 1), (9.0, 1, 1), (0.0, 1, 1)]
)
def test_the_load_average_decides(load: float, cores: int, threads: int) -> None:
    assert choose_threads(load=load, cores=cores) == threads


def test_what_is_told_wins_over_the_environment_and_that_over_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOOT_THREADS", "3")

    assert choose_threads(7, load=0.0, cores=2) == 7
    assert choose_threads(load=0.0, cores=2) == 3


def test_the_machine_is_asked_when_nothing_is_told() -> None:
    assert choose_threads() >= 1


def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        choose_threads(0)
    monkeypatch.setenv("MOOT_THREADS", "many")
    with pytest.raises(ValueError, match="MOOT_THREADS"):
        choose_threads()
