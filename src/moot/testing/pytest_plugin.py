"""The pytest plugin: a test that is a simulation, run with many seeds.

    @pytest.mark.simulate(seeds=50, faults=Faults(drop=0.05, crash=0.01))
    async def test_orders_are_shipped(simulated):
        await simulated.register(Desk("desk"))
        ...

The test function is what is simulated; ``simulated`` is the manager, and the laws of
the runtime hold besides what the test asserts. Seeds are fresh in each session, unless
``start=``, ``--simulate-seed`` or the environment says otherwise; a failure prints its
seed, shrunk faults, and the line that runs it again.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Callable
from typing import Any

import pytest

__all__: list[str] = []

_FRESH = 1_000_000_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("moot", "moot: simulation")
    group.addoption("--simulate-seed", type=int, metavar="K", help="run simulated tests with this seed only")
    group.addoption("--simulate-only", default=None, metavar="FAULTS", help="of its faults, let only these strike")
    group.addoption("--simulate-seeds", type=int, metavar="N", help="run simulated tests with so many seeds")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "simulate(seeds=20, *, faults=Faults(), until=None, start=None, invariants=LAWS, make=SimulatedManager): "
        "run the test as a simulation, with so many seeds",
    )


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Any:
    """The manager of a simulated test."""
    if request.node.get_closest_marker("simulate") is None:
        pytest.fail("`simulated` needs a simulation: mark the test with @pytest.mark.simulate(seeds=20)", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Put the simulations in the place of the test function, before anybody runs it as a coroutine."""
    marker = item.get_closest_marker("simulate")
    if marker is None or not isinstance(item, pytest.Function):
        return (yield)
    function = item.obj
    item.obj = _simulations(item, function, *marker.args, **marker.kwargs)
    try:
        return (yield)
    finally:
        item.obj = function


def _simulations(
    item: pytest.Item, function: Callable[..., Any], seeds: int = 20, *, start: int | None = None, **settings: Any
) -> Callable[..., None]:
    """A plain function that runs the simulations of one test."""
    from moot.testing.simulation.search import search

    chosen, only = item.config.getoption("--simulate-seed"), item.config.getoption("--simulate-only")
    given_number = item.config.getoption("--simulate-seeds")
    number = given_number if given_number is not None else _number(os.environ.get("MOOT_SIMULATE_SEEDS"), seeds)
    if number < 1:
        pytest.fail(f"a simulation needs 1 seed or more, and {number} would prove nothing", pytrace=False)
    if chosen is None and start is None:
        start = int(os.environ.get("MOOT_SIMULATE_START", random.SystemRandom().randrange(_FRESH)))
    searched = [chosen] if chosen is not None else range(start or 0, (start or 0) + number)

    def run(**fixtures: Any) -> None:
        __tracebackhide__ = True
        given = {name: value for name, value in fixtures.items() if name != "simulated"}
        found = search(
            lambda manager: function(simulated=manager, **given), seeds=searched, **_narrowed(settings, only)
        )
        if found.shrunk is not None:
            from moot.testing.simulation.outcome import report

            pytest.fail(report(found.shrunk, _replay(item, found.shrunk)), pytrace=False)

    return run


def _number(text: str | None, default: int) -> int:
    """The number of seeds that the environment asks for."""
    if text is not None and not text.isdecimal():
        pytest.fail(f"MOOT_SIMULATE_SEEDS is a number of seeds, not {text!r}", pytrace=False)
    return default if text is None else int(text)


def _narrowed(settings: dict[str, Any], only: str | None) -> dict[str, Any]:
    from moot.testing.simulation.faults import Fault, Faults

    if only is None:
        return settings
    faults = settings.get("faults", Faults()).just(Fault.parse(text) for text in only.split())
    return {**settings, "faults": faults}


def _replay(item: pytest.Item, shrunk: Any) -> str:
    line = f"pytest {shlex.quote(item.nodeid)} --simulate-seed {shrunk.seed}"
    if shrunk.faults.only is not None:
        line += f" --simulate-only {shlex.quote(' '.join(str(fault) for fault in shrunk.struck))}"
    return line
