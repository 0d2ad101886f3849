"""A lazy package loads each public name from the place where type checkers see it, and nothing before."""

from __future__ import annotations

import ast
import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import moot

ROOT = Path(__file__).parents[2]
PACKAGES = ["moot", "moot.engine"]


def seen_by_checkers(package: str) -> dict[str, str]:
    """The public names that a package imports under ``TYPE_CHECKING``, with the module of each."""
    path = ROOT / "src" / package.replace(".", "/") / "__init__.py"
    (block,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    return {
        alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def loaded(code: str) -> set[str]:
    """The modules that a program loads."""
    program = (
        f"import sys, json; before = set(sys.modules); {code}; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_comes_from_where_type_checkers_see_it(package: str) -> None:
    module = importlib.import_module(package)
    places = seen_by_checkers(package)

    assert sorted(places) == sorted(module.__all__)
    for name, place in places.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_are_listed_and_no_other_is_found(package: str) -> None:
    module = importlib.import_module(package)

    assert set(module.__all__) <= set(dir(module))
    assert set(dir(module)) - set(vars(module)) <= set(module.__all__)  # what is not loaded yet
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_a_star_brings_all_names() -> None:
    names: dict[str, object] = {}

    exec("from moot import *", names)

    assert set(moot.__all__) <= set(names)


def test_what_was_loaded_late_is_pickled_as_before() -> None:
    assert pickle.loads(pickle.dumps(moot.Backoff)) is moot.Backoff
    assert pickle.loads(pickle.dumps(moot.Reason.EXPIRED)) is moot.Reason.EXPIRED


def test_import_moot_loads_no_part_of_it() -> None:
    found = loaded("import moot")

    assert {name for name in found if name.partition(".")[0] == "moot"} == {"moot", "moot.lazy"}
    assert found & {"asyncio", "inspect", "msgspec", "sqlite3", "typing_extensions"} == set()


def test_what_an_agent_needs_is_neither_engine_nor_file_nor_command() -> None:
    found = loaded("from moot import Agent, AgentManager, Request, handles")

    assert "moot.runtime.system" in found
    assert found & {"sqlite3", "typer", "rich", "pydantic", "moot.engine.queue", "moot.testing", "moot.cli"} == set()
