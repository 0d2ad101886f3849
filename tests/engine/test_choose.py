"""Engines are chosen by a string, and a string that cannot be used says what can."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from moot.engine.choose import open_engine
from moot.engine.errors import EngineError, ModelUnavailable
from moot.engine.local import LocalEngine
from moot.engine.openai import OpenAIEngine


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOOT_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("MOOT_ENGINE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("spec", "model", "url"),
    [
        ("openai:m@http://host:1/v1", "m", "http://host:1/v1"),
        ("openai:m@http://host:1", "m", "http://host:1/v1"),
        ("openai:org/m@2@https://host/api/v1/", "org/m@2", "https://host/api/v1"),
        ("openai:m", "m", "https://api.openai.com/v1"),
    ],
)
def test_a_server_is_chosen_by_model_and_url(spec: str, model: str, url: str) -> None:
    engine = open_engine(spec)

    assert isinstance(engine, OpenAIEngine)
    assert (engine.model, engine.base_url, engine.name) == (model, url, f"openai:{model}@{url}")


def test_credentials_in_a_url_are_not_in_the_name() -> None:
    assert "secret" not in open_engine("openai:m@http://user:secret@host/v1").name


def test_the_model_can_be_given_apart() -> None:
    engine = open_engine("openai:@http://host/v1", model="m")

    assert isinstance(engine, OpenAIEngine)
    assert engine.model == "m"


def test_a_path_is_a_local_model(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF")

    for engine in (open_engine(f"local:{path}", context_size=512), open_engine("local", model=str(path))):
        assert isinstance(engine, LocalEngine)
        assert engine.path == path
    assert open_engine(f"local:{path}", context_size=512).context_size == 512


def test_the_environment_is_the_default_and_local_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailable, match=r"1,117 MB.*moot models pull"):
        open_engine(None)
    monkeypatch.setenv("MOOT_ENGINE", "openai:m@http://host/v1")
    assert isinstance(open_engine(None), OpenAIEngine)


@pytest.mark.parametrize("spec", ["gpt", "vllm:x", "openai:", "openai:@http://host/v1"])
def test_an_unknown_string_names_the_accepted_forms(spec: str) -> None:
    with pytest.raises(ValueError, match=r"local:tiny.*openai:MODEL@http"):
        open_engine(spec)


@pytest.mark.parametrize("spec", ["local:huge", "local:default.bin"])
def test_an_unknown_model_names_those_there_are(spec: str) -> None:
    with pytest.raises(ValueError, match="default, small, tiny"):
        open_engine(spec)


def test_a_path_without_a_file_is_said_so() -> None:
    with pytest.raises(ModelUnavailable, match="no such file"):
        open_engine("local:/nowhere/model.gguf")


@pytest.mark.parametrize(
    ("spec", "library", "extra"), [("openai:m", "openai", "openai"), ("local:{path}", "xllamacpp", "local")]
)
def test_a_missing_library_names_its_install_command(
    spec: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.gguf"
    path.touch()
    found = importlib.util.find_spec

    def without(name: str, *args: Any) -> Any:
        return None if name == library else found(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without)

    with pytest.raises(EngineError, match=rf"pip install 'moot\[{extra}\]'"):
        open_engine(spec.format(path=path))
