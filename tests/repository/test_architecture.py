"""The house: arrows only point down, libraries stay in their module, and all of `moot` needs msgspec alone.

Each import contract is broken once on purpose, in a copy of the source, and must be seen to fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repository.import_graph import circles, import_graph
from tests.repository.wires import silent_callbacks

ROOT = Path(__file__).resolve().parent.parent.parent
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

BREAKS = {
    "layers": ("messaging/mailbox.py", "import moot.manager"),
    "runtime-layers": ("runtime/cell.py", "import moot.runtime.routing.router"),
    "research-layers": ("teams/research/text/stems.py", "import moot.teams.research.evidence.support"),
    "testing-layers": ("testing/virtual_loop.py", "import moot.testing.simulation.world"),
    "runtime-is-private": ("replication/replica.py", "import moot.runtime.cell"),
    "lib-cli": ("messaging/message.py", "import rich"),
    "lib-uvloop": ("manager/manager.py", "import uvloop"),
    "lib-xllamacpp": ("manager/manager.py", "import xllamacpp"),
    "lib-openai": ("engine/base.py", "import openai"),
    "lib-hub": ("engine/models/cache.py", "from huggingface_hub import hf_hub_download"),
    "lib-html": ("messaging/codec.py", "from selectolax.lexbor import LexborHTMLParser"),
    "lib-pdf": ("messaging/codec.py", "import pypdf"),
    "lib-stems": ("runtime/routing/router.py", "import snowballstemmer"),
    "lib-numpy": ("agent/agent.py", "import numpy"),
    "lib-cryptography": ("messaging/codec.py", "import cryptography"),
    "patterns-apart": ("patterns/pipeline.py", "import moot.patterns.scatter_gather"),
    "patterns-public": ("patterns/pipeline.py", "import moot.runtime.dispatch.dispatcher"),
    "no-other-loop": ("runtime/dispatch/pool.py", "import anyio"),
}
"""For each contract a module of `moot` and a line that must not stand in it."""

ALLOWED_CIRCLES = {
    frozenset({"moot.agent.agent", "moot.agent.context"}),
}
"""The circles of files that there are. The set may only shrink."""

OPTIONS = {
    "moot.patterns.contract_net.tender.Tender.revise",  # None is an answer: the task stays as it is
    "moot.patterns.market.bidder.BidderAgent(strategy)",  # truthful: to bid the value is what it does
}
"""Choices that users have, for which it is right to do nothing: no wire hangs on them."""

WIRES = """
from none import nothing as quiet, some

class Bell:
    constant = lambda: 0
    in_field: object = field(default=lambda: None)
    loud = lambda self: print()
    number = 1

    def __init__(self, given=lambda: None, *, same=lambda x: x, told=print, count=0):
        self.none: object = lambda *facts: None
        self.first, self.size = lambda: None, 0
        self.imported = quiet
        self.or_else = given or (lambda: None)
        if count:
            self.in_case = some if count else quiet
        self.own = self._ignore
        self.pair = lambda x: (False, None)
        self.part.rung = lambda: ""
        self.fine = lambda x: x.y
        self.kept = some
        self.told = self._tell
        self.given = given
        self.sorted = sorted(told, key=lambda x: x)
        local = lambda: None

    def _ignore(self, fact):
        pass

    def _tell(self, fact):
        print(fact)

    def later(self, quiet=lambda: None):
        self.late = lambda: None
"""


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", str(root / "pyproject.toml")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source and its contracts, to be broken."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_has_its_break() -> None:
    assert set(BREAKS) == set(CONTRACTS)


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_is_seen_to_break(contract: str, copy: Path) -> None:
    module, line = BREAKS[contract]
    path = copy / "src/moot" / module
    path.write_text(f"{path.read_text()}\n{line}\n")

    done = lint(copy)

    assert done.returncode != 0
    assert f"{CONTRACTS[contract]['name']} BROKEN" in done.stdout


def test_an_import_for_type_checkers_counts(copy: Path) -> None:
    path = copy / "src/moot/messaging/mailbox.py"
    line = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import moot.manager"
    path.write_text(f"{path.read_text()}\n{line}\n")

    done = lint(copy)

    assert f"{CONTRACTS['layers']['name']} BROKEN" in done.stdout


def test_a_module_without_a_layer_is_seen(copy: Path) -> None:
    (copy / "src/moot/homeless.py").write_text('"""A module that nobody gave a place."""\n')

    done = lint(copy)

    assert f"{CONTRACTS['layers']['name']} BROKEN" in done.stdout
    assert "homeless" in done.stdout


def test_there_is_no_circle_of_files_but_those_allowed() -> None:
    found = circles(import_graph(ROOT / "src"))

    assert sorted(map(sorted, found - ALLOWED_CIRCLES)) == []
    assert sorted(map(sorted, ALLOWED_CIRCLES - found)) == []  # it was opened: take it out of the set


def test_a_circle_of_files_is_seen(tmp_path: Path) -> None:
    room = tmp_path / "house/room"
    room.mkdir(parents=True)
    (tmp_path / "house/__init__.py").write_text("import house.hall")
    (tmp_path / "house/hall.py").write_text("import os\nimport house.room.door, house.room.wall")
    (room / "__init__.py").write_text("")
    (room / "door.py").write_text("from house.room import wall")
    (room / "wall.py").write_text("if TYPE_CHECKING:\n    from house.room.window import Window")
    (room / "window.py").write_text("def open():\n    from .door import Door")
    (room / "bed.py").write_text("from house.room.window import Window\nfrom ..hall import Hall")

    graph = import_graph(tmp_path)

    assert graph["house.hall"] == {"house.room.door", "house.room.wall"}
    assert graph["house.room.bed"] == {"house.room.window", "house.hall"}
    assert circles(graph) == {frozenset({"house.room.door", "house.room.wall", "house.room.window"})}


def test_no_callback_does_nothing_until_it_is_set() -> None:
    found = {name for name in silent_callbacks(ROOT / "src") if not name.startswith("moot.telemetry.")}

    assert sorted(found - OPTIONS) == []
    assert sorted(OPTIONS - found) == []  # it is another choice now: take it out of the set


def test_a_callback_that_does_nothing_is_seen(tmp_path: Path) -> None:
    (tmp_path / "none.py").write_text('def nothing(*facts):\n    """Nothing."""\n\ndef some(x):\n    return x.y')
    (tmp_path / "wires.py").write_text(WIRES)

    assert silent_callbacks(tmp_path) == {
        "wires.Bell(given)",
        "wires.Bell(same)",
        "wires.Bell.constant",
        "wires.Bell.first",
        "wires.Bell.imported",
        "wires.Bell.in_case",
        "wires.Bell.in_field",
        "wires.Bell.none",
        "wires.Bell.or_else",
        "wires.Bell.own",
        "wires.Bell.pair",
        "wires.Bell.part.rung",
    }


def test_importing_moot_loads_no_third_party_module_but_msgspec() -> None:
    code = (
        "import sys; before = set(sys.modules); from moot import *; import json;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)

    loaded = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    assert loaded - {"typing_extensions"} == {"moot", "msgspec"}  # msgspec takes that one where it is installed


def test_every_module_says_what_it_is_and_what_it_offers() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "src/moot").rglob("*.py"))
        if not path.read_text().startswith('"""') or "__all__" not in path.read_text()
    ]

    assert silent == []


def test_modules_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "src/moot").rglob("*.py")
    }

    assert {path: lines for path, lines in lengths.items() if lines > 300} == {}


def test_tests_mirror_the_source() -> None:
    rooms = {path.parent.relative_to(ROOT / "src/moot") for path in (ROOT / "src/moot").rglob("*.py")}
    own = {Path("promises"), Path("repository"), Path("typing")}  # the README's laws, the repository, what checkers see
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}

    assert Path() not in folders
    assert folders - own - rooms == set()
