"""A flock flies by its rules: every engine as the definition, the same seed the same flight, order by itself."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.patterns.swarm import Boids, Box, Flock, FlockState, Vicsek, cell_list, polar_order
from moot.patterns.swarm.flock import EngineName
from moot.patterns.swarm.rules import Rules
from moot.patterns.swarm.sums import by_definition

ENGINES: list[EngineName] = ["numba", "kdtree"]


def furthest(one: Flock, other: Flock) -> float:
    """The largest difference of any coordinate, in a periodic box by the shortest way."""
    d = one.positions - other.positions
    if one.box.is_periodic:
        d -= np.array(one.box.sides) * np.rint(d / one.box.sides)
    return float(max(np.abs(d).max(), np.abs(one.velocities - other.velocities).max()))


@pytest.mark.parametrize("rules", [Boids(), Boids(noise=0.3), Vicsek(noise=0.3)], ids=["boids", "noisy", "vicsek"])
@pytest.mark.parametrize("is_periodic", [True, False], ids=["periodic", "bounded"])
@pytest.mark.parametrize("dim", [2, 3])
def test_every_engine_flies_as_the_definition_does(dim: int, is_periodic: bool, rules: Rules) -> None:
    box = Box(Box.around(100, dim).sides, is_periodic)
    definition, *engines = (Flock(100, rules, box=box, seed=7, engine=name) for name in ("numpy", "numba", "kdtree"))

    for _ in range(100):
        definition.step()

        assert max(furthest(flock.step(), definition) for flock in engines) < 1e-9


@st.composite
def placed(draw: st.DrawFn) -> tuple[Rules, Box, list[list[float]]]:
    """Boids anywhere in boxes of any shape: on the sides, in one place, cells of each other's width apart."""
    dim = draw(st.sampled_from([2, 3]))
    r = draw(st.floats(0.1, 1.0))
    sides = tuple(draw(st.floats(2.01 * r, 8 * r)) for _ in range(dim))
    box = Box(sides, draw(st.booleans()))
    axes = [
        st.sampled_from([0.0, r, 2 * r, math.nextafter(side, 0)]) | st.floats(0, side, exclude_max=True)
        for side in sides
    ]
    places = draw(st.lists(st.tuples(*axes).map(list), min_size=1, max_size=12))
    rules: list[Rules] = [Boids(r=r, speed=r / 10), Vicsek(r=r, speed=r / 10)]
    return draw(st.sampled_from(rules)), box, places


@pytest.mark.parametrize("engine", ENGINES)
@given(placed())
@settings(max_examples=100)
def test_wherever_boids_are_an_engine_finds_the_same_neighbours(
    engine: EngineName, where: tuple[Rules, Box, list[list[float]]]
) -> None:
    rules, box, places = where
    positions = np.array(places)
    squares = ((d := by_way(positions, box)) * d).sum(axis=-1)
    if (np.abs(np.sqrt(squares) - rules.r) < 1e-12).any():
        return  # at r itself, to the last bit, rounding decides
    flock = Flock(len(places), rules, box=box, engine=engine).put(positions, np.ones_like(positions))
    headings = flock.velocities / rules.speed

    got, wanted = flock._sums(flock.positions, headings, rules, box), by_definition(positions, headings, rules, box)

    assert got.counts.tolist() == wanted.counts.tolist()
    assert np.allclose(got.headings, wanted.headings)
    assert np.allclose(got.pulls, wanted.pulls)


def by_way(positions: Any, box: Box) -> Any:
    return np.array([[box.way(tuple(a), tuple(b)) for b in positions] for a in positions])


def test_the_definition_is_the_formula_of_the_rules() -> None:
    rules, box = Boids(r=2.0, separation=0.1, alignment=0.5, cohesion=0.2, speed=0.1), Box.cube(10.0)
    flock = Flock(3, rules, box=box, engine="numpy").put([[9.5, 5], [0.5, 5], [5, 5]], [[0.1, 0], [0, 0.1], [0, -0.1]])

    flock.step()

    # the first sees the second, through the side, one to its right; the third sees nobody
    wanted = np.array([1 + 0.5 * (0 - 1) + 0.2 * 1 / 2 - 0.1 * 2 * 1 / 1, 0.5 * 1])
    wanted *= 0.1 / np.linalg.norm(wanted)
    assert np.allclose(flock.velocities[0], wanted)
    assert np.allclose(flock.velocities[2], [0, -0.1])
    assert np.allclose(flock.positions[0], [9.5 + wanted[0], 5 + wanted[1]])


@pytest.mark.parametrize("seed", range(10))
def test_order_comes_about_from_every_seed(seed: int) -> None:
    flock = Flock(200, seed=seed, engine="numba")
    assert flock.order() < 0.3

    flock.step(1500)

    assert flock.order() >= 0.99


@pytest.mark.parametrize(
    ("noise", "wanted"), [(0.1, 0.999), (1, 0.948), (2, 0.789), (3, 0.551), (4, 0.271), (5, 0.059)]
)
def test_noise_decides_on_order_as_vicsek_found(noise: float, wanted: float) -> None:
    """N = 400, L = 10, r = 1, v = 0.03: the mean order once it has settled.

    Near the threshold, where that takes longest and wanders most, it is that of more ticks and seeds.
    """
    seeds, ticks = {3: (2, 600), 4: (5, 1200)}.get(int(noise), (1, 300))
    orders = []
    for seed in range(seeds):
        flock = Flock(400, Vicsek(noise=noise), box=Box.cube(10), seed=seed, engine="numba").step(ticks)
        orders += [flock.step().order() for _ in range(ticks)]

    assert abs(float(np.mean(orders)) - wanted) < 0.05


@pytest.mark.parametrize("engine", [*ENGINES, "numpy"])
def test_the_same_seed_is_the_same_flight_to_the_bit(engine: EngineName) -> None:
    one, same, other = (
        Flock(50, Boids(noise=0.5), box=Box.cube(5, 3), seed=seed, engine=engine).step(20) for seed in (1, 1, 2)
    )

    assert one.state() == same.state()
    assert one.state() != other.state()


@pytest.mark.parametrize("dim", [2, 3])
def test_noise_turns_each_boid_anew_at_each_tick_and_no_further_than_it_says(dim: int) -> None:
    flock = Flock(200, Boids(separation=0, alignment=0, cohesion=0, noise=0.8), box=Box.cube(9.0, dim), seed=1)
    turns = []
    for _ in range(20):
        before = flock.velocities
        after = flock.step().velocities
        turns.append(np.arccos(np.clip((before * after).sum(axis=1) / flock.rules.speed**2, -1, 1)))

    angles = np.array(turns)
    assert angles.max() <= 0.4 + 1e-7
    assert abs(angles.mean() - 0.2) < 0.01  # uniform, to either side
    assert abs(np.corrcoef(angles[:-1].ravel(), angles[1:].ravel())[0, 1]) < 0.1


def test_who_leaves_a_periodic_box_by_less_than_can_be_written_is_at_its_other_side() -> None:
    box = Box.cube(4.0)

    (x, _), _ = box.moved((0.0, 1.0), (-1e-20, 0.05))

    assert x == 0.0
    flock = Flock(1, box=box).put([[0.0, 1.0]], [[-1e-20, 1.0]]).step()
    assert flock.positions[0, 0] == 0.0


def test_a_flock_goes_on_from_its_state_to_the_bit() -> None:
    rules, box = Boids(noise=0.5), Box.cube(5.0, is_periodic=False)
    uninterrupted = Flock(60, rules, box=box, seed=3).step(40)
    interrupted = Flock(60, rules, box=box, seed=3)

    for _ in range(4):
        interrupted = Flock.restore(interrupted.step(10).state())

    assert interrupted.state() == uninterrupted.state()
    assert interrupted.tick == 40


@pytest.mark.parametrize("rules", [Boids(speed=0.9, noise=2.0), Vicsek(speed=0.9, noise=2.0)])
@pytest.mark.parametrize(("dim", "is_periodic"), list(itertools.product((2, 3), (True, False))))
def test_whatever_happens_boids_are_in_the_box_at_their_speed(rules: Rules, dim: int, is_periodic: bool) -> None:
    box = Box.cube(3.0, dim, is_periodic=is_periodic)
    flock = Flock(100, rules, box=box, seed=1)

    for _ in range(50):
        flock.step()

        assert ((flock.positions >= 0) & (flock.positions <= 3.0)).all()
        assert np.allclose(np.linalg.norm(flock.velocities, axis=1), 0.9)


def test_boids_in_one_place_do_not_end_in_what_is_no_number() -> None:
    flock = Flock(4, box=Box.cube(5.0)).put([[1.0, 1.0]] * 4, [[1, 0], [-1, 0], [1, 0], [-1, 0]])

    flock.step(10)

    assert np.isfinite(flock.positions).all()
    assert np.isfinite(flock.velocities).all()


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("engine", ["numpy", *ENGINES])
@pytest.mark.parametrize("rules", [Boids(separation=1e308), Boids(alignment=1e308), Boids(r=1e-200, separation=1e308)])
def test_weights_that_leave_the_numbers_turn_nobody(rules: Boids, engine: EngineName) -> None:
    flock = Flock(30, rules, box=Box.cube(4.0), engine=engine).step(20)

    assert np.isfinite(flock.positions).all()
    assert np.allclose(np.linalg.norm(flock.velocities, axis=1), rules.speed)


def test_clusters_are_those_who_see_each_other_through_others() -> None:
    places = [[0.5, 5], [9.8, 5], [9.0, 5], [4, 1], [4, 1.5], [7, 9]]

    flock = Flock(6, box=Box.cube(10.0)).put(places, np.ones((6, 2)))

    assert flock.clusters().tolist() == [0, 0, 0, 1, 1, 2]


def test_order_is_one_when_all_agree_and_nothing_when_they_cancel_out() -> None:
    assert polar_order([[0.0, 2.0], [0.0, 2.0]]) == 1.0
    assert polar_order([[0.0, 2.0], [0.0, -2.0]]) == 0.0


def test_arrays_of_a_flock_are_read_only() -> None:
    flock = Flock(3)

    with pytest.raises(ValueError, match="read-only"):
        flock.positions[0, 0] = 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Flock(0), "at least 1 boid"),
        (lambda: Flock(3, seed=-1), "seed is 0 or more"),
        (lambda: Flock(3, box=Box.cube(2.0)), "larger box or a smaller r"),
        (lambda: Flock(3, Boids(speed=5), box=Box.cube(4.0)), "in one tick"),
        (lambda: Flock(3, engine="cuda"), "engine is one of auto, numba, kdtree, numpy"),  # type: ignore[arg-type]
        (lambda: Flock(3).put([[0, 0]], [[1, 1]]), "are of shape"),
        (lambda: Flock(1).put([[-1, 0]], [[1, 1]]), "in the box"),
        (lambda: Flock(1).put([[math.nan, 0]], [[1, 1]]), "in the box"),
        (lambda: Flock(1).put([[0, 0]], [[0, 0]]), "where a boid is heading"),
        (lambda: Flock.restore(FlockState(Boids(), Box.cube(5.0), 0, 0, b"12345678", b"")), "reshape"),
        (lambda: Box((1.0,)), "2 or 3 sides"),
        (lambda: Box.cube(math.inf), "side 1 is above 0 and finite"),
        (lambda: Boids(r=0), "r is above 0"),
        (lambda: Boids(cohesion=-1), "cohesion is 0 or more"),
        (lambda: Boids(avoidance=math.inf), "avoidance is 0 or more"),
        (lambda: Vicsek(noise=math.nan), "noise is 0 or more"),
    ],
)
def test_what_cannot_fly_is_refused_with_the_reason(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("library", "act", "words"),
    [
        ("numpy", "import moot.patterns.swarm", "the swarm pattern needs numpy and scipy; .*'moot\\[swarm\\]'"),
        ("scipy", "import moot.patterns.swarm", "the swarm pattern needs numpy and scipy; .*'moot\\[swarm\\]'"),
        (
            "numba",
            "import moot.patterns.swarm as s; assert s.Flock(2000).engine == 'kdtree'; s.Flock(2, engine='numba')",
            "needs numba; .*'moot\\[swarm,numba\\]'",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(library: str, act: str, words: str) -> None:
    hide = (
        "import importlib.util as u, sys; find = u.find_spec;"
        f"u.find_spec = lambda name, *more: None if name == '{library}' else find(name, *more);"
        f"sys.modules['{library}'] = None;"
    )

    done = subprocess.run([sys.executable, "-c", hide + act], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError")
    assert pytest.raises(AssertionError, match=words).matches(AssertionError(last))


def test_without_a_place_for_compiled_code_the_kernel_is_compiled_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    plain = numba.njit

    def nowhere(**options: Any) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", nowhere)

    kernel = cell_list.load.__wrapped__()

    assert kernel.__name__ == "_kernel"
