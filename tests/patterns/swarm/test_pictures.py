"""A flight can be looked at: as text, as a PNG, as a page of its own, and in `moot demo swarm`."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from moot.cli.app import UsageError
from moot.cli.demos.swarm import swarm
from moot.patterns.swarm import Box, Flock
from moot.patterns.swarm.page import html_of
from moot.patterns.swarm.picture import arrows, bars
from moot.patterns.swarm.plot import save_png

ORDERS = [(0, 0.1), (10, 0.5), (20, 1.0)]


def test_arrows_say_where_boids_are_and_where_they_fly() -> None:
    flock = Flock(3, box=Box.cube(4.0)).put([[0.5, 0.5], [0.6, 0.5], [3.9, 3.9]], [[1, 0], [1, 0.1], [-1, 1]])

    assert arrows(flock, 4, 4) == ["···↖", "····", "····", "→···"]


def test_bars_grow_with_the_order_and_there_are_only_so_many() -> None:
    assert bars([0.0, 0.5, 1.0]) == "▁▅█"
    assert bars([n / 999 for n in range(1000)], 8) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize("dim", [2, 3])
def test_a_page_is_whole_and_fetches_nothing(dim: int) -> None:
    flock = Flock(20, box=Box.cube(3.0, dim))

    page = html_of(flock, ORDERS, "<script>alert('&')</script>")

    tree = ET.fromstring(page.replace("<!DOCTYPE html>", "").replace('<meta charset="utf-8">', ""))
    assert [svg.tag for svg in tree.iter("svg")] == ["svg", "svg"]
    assert tree.findtext("body/h1") == "<script>alert('&')</script>"
    assert "<script" not in page
    assert not re.search(r"https?:|src=|href=|@import|url\(", page)
    assert page.count("M") >= 60


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    save_png(tmp_path / "flight.png", Flock(20), ORDERS, "100 $ boids")

    assert (tmp_path / "flight.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [{}, {"dim": 3, "vicsek": True}])
def test_agents_and_arrays_fly_alike_in_the_demo(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    swarm(boids=40, steps=30, **options)
    arrays = capsys.readouterr().out
    swarm(boids=40, steps=30, agents=True, **options)
    agents = capsys.readouterr().out

    assert arrays == agents
    assert "after 30 ticks" in arrays
    assert re.search(r"from 0\.\d+ to [01]\.\d+; \d+ clusters?", arrays)


def test_the_demo_runs_live_and_writes_a_page(tmp_path: Path) -> None:
    program = "import sys; from moot.cli import main; sys.argv = ['moot', 'demo', 'swarm', *sys.argv[1:]]; main()"
    options = ["--boids", "30", "--steps", "6", "--live", "--plot", str(tmp_path / "flight.html")]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *options], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "tick 6, order" in done.stdout
    assert "<svg" in (tmp_path / "flight.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"plot": Path("flight.pdf")}, "--plot writes FILE.png or FILE.html, not 'flight.pdf'"),
        ({"plot": Path("no/such/flight.png")}, "there is no folder no/such"),
        ({"boids": 2000, "agents": True}, "at most 1000 boids can be agents"),
    ],
)
def test_what_the_demo_cannot_do_is_a_usage_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        swarm(**options)


@pytest.mark.parametrize(("library", "extra"), [("scipy", "swarm"), ("matplotlib", "plot")])
def test_a_library_that_is_not_there_is_named_with_its_command(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else object())

    with pytest.raises(UsageError, match=rf"python -m pip install 'moot\[{extra}\]'"):
        swarm(plot=Path("flight.png"))
