"""Pulling a model: only pinned bytes get the final name, and an interrupted pull goes on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

import msgspec
import pytest

from moot.engine.errors import EngineError, ModelUnavailable
from moot.engine.models import download, hub
from moot.engine.models.cache import ModelState, cache_dir, cached_path, locked, model_path, model_state, partial_path
from moot.engine.models.catalogue import CATALOGUE, Model
from moot.engine.models.download import pull_model
from moot.engine.models.hub import HubUnavailable

from .conftest import http_server
from .fake_index import FakeIndex, fake_model, wheel_bytes


class Setting(NamedTuple):
    model: Model
    served: FakeIndex
    notices: list[str]
    progress: list[tuple[int, int]]

    def pull(self) -> Path:
        return pull_model(self.model, notice=self.notices.append, progress=lambda *seen: self.progress.append(seen))

    def fetched(self) -> list[tuple[str, str | None]]:
        return [(path, ranges) for path, ranges in self.served.requests if path.startswith("/files/")]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    """An empty cache, no hub, and a package index on loopback."""
    model, index = fake_model()
    for name in ("PIP_FIND_LINKS", "MOOT_MODEL_WHEELS", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOOT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with http_server(index.handler()) as url:
        monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
        yield Setting(model, index, [], [])


def content(setting: Setting) -> bool:
    path = cached_path(setting.model)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == setting.model.sha256


def test_the_wheels_are_put_together_and_nothing_else_is_left(setting: Setting) -> None:
    path = setting.pull()

    assert path == cached_path(setting.model)
    assert content(setting)
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".checked", ".gguf", ".lock"]
    assert setting.progress[-1][0] == setting.progress[-1][1] == sum(wheel.size for wheel in setting.model.wheels)
    assert [done for done, _ in setting.progress] == sorted(done for done, _ in setting.progress)
    assert model_state(setting.model) is ModelState.READY


def test_a_model_that_is_here_is_not_fetched_again(setting: Setting) -> None:
    setting.pull()
    setting.served.requests.clear()

    setting.pull()

    assert setting.served.requests == []


def test_an_index_that_speaks_html_will_do(setting: Setting) -> None:
    setting.served.faults.html = True

    setting.pull()

    assert content(setting)


def test_credentials_of_the_index_are_sent_and_never_shown(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:

    url = os.environ["PIP_INDEX_URL"].replace("http://", "http://user:s3cret@")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    setting.served.faults.missing = True

    with pytest.raises(ModelUnavailable) as caught:
        setting.pull()

    assert "s3cret" not in str(caught.value)
    assert setting.served.authorizations[0] == "Basic dXNlcjpzM2NyZXQ="


def test_a_broken_connection_is_taken_up_where_it_broke(setting: Setting) -> None:
    setting.served.faults.cut_after = 5000

    setting.pull()

    assert content(setting)
    assert [ranges for _, ranges in setting.fetched()] == [None, "bytes=5000-", None]


def test_a_server_that_ignores_ranges_is_read_from_the_start(setting: Setting) -> None:
    setting.served.faults.cut_after = 5000
    setting.served.faults.ignore_ranges = True

    setting.pull()

    assert content(setting)


def test_an_interrupted_pull_goes_on_with_the_next_wheel(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_append_member", _first_then(download._append_member, interrupt))
        with pytest.raises(KeyboardInterrupt):
            setting.pull()
    assert model_state(setting.model) is ModelState.PARTIAL
    setting.served.requests.clear()
    with partial_path(setting.model).open("ab") as part:
        part.write(b"half a piece")

    setting.pull()

    assert content(setting)
    assert setting.fetched() == []  # the second wheel had been fetched whole, the first put in place


def _first_then(first: Any, then: Any) -> Any:
    calls = iter([first])

    def call(*args: Any) -> Any:
        return next(calls, then)(*args)

    return call


def test_a_wheel_with_other_bytes_is_thrown_away(setting: Setting) -> None:
    setting.served.faults.swap = b"x" * setting.model.wheels[0].size

    with pytest.raises(ModelUnavailable, match="pinned SHA-256"):
        setting.pull()

    assert not cached_path(setting.model).exists()
    assert list(cached_path(setting.model).parent.glob("*.whl*")) == []


def test_a_wheel_longer_than_the_pin_is_not_read_to_its_end(setting: Setting) -> None:
    setting.served.faults.swap = b"x" * (setting.model.wheels[0].size + 1)

    with pytest.raises(ModelUnavailable, match="longer than the pinned"):
        setting.pull()


def test_a_member_of_another_size_is_refused(setting: Setting, tmp_path: Path) -> None:
    wheel = setting.model.wheels[0]
    body = wheel_bytes(wheel.member, b"short")
    pinned = msgspec.structs.replace(wheel, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    setting.served.wheels[wheel.filename] = body
    other = setting._replace(model=msgspec.structs.replace(setting.model, wheels=(pinned,)))

    with pytest.raises(ModelUnavailable, match="plain bytes"):
        other.pull()


def test_pieces_that_do_not_add_up_to_the_pinned_model_are_thrown_away(setting: Setting) -> None:
    other = setting._replace(model=msgspec.structs.replace(setting.model, sha256="0" * 64))

    with pytest.raises(ModelUnavailable, match="assembled file"):
        other.pull()

    assert model_state(setting.model) is ModelState.MISSING


def test_a_damaged_file_is_found_and_repaired(setting: Setting) -> None:
    path = setting.pull()
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)

    assert model_state(setting.model) is ModelState.CORRUPT
    setting.pull()

    assert content(setting)
    assert any("damaged" in notice for notice in setting.notices)


def test_damage_that_leaves_size_and_time_alone_is_found_by_a_thorough_look(setting: Setting) -> None:

    path = setting.pull()
    facts = path.stat()
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert model_state(setting.model, thorough=True) is ModelState.CORRUPT
    assert model_state(setting.model) is ModelState.CORRUPT


def test_a_wheel_on_disk_spares_the_download(setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    first, second = setting.model.wheels
    (folder / first.filename).write_bytes(setting.served.wheels[first.filename])
    (folder / second.filename).write_bytes(b"x" * second.size)  # not the pinned bytes: fetched instead
    monkeypatch.setenv("MOOT_MODEL_WHEELS", str(folder))

    setting.pull()

    assert content(setting)
    assert [path.rpartition("/")[2] for path, _ in setting.fetched()] == [second.filename]
    assert (folder / first.filename).exists()


def test_a_full_disk_is_one_clear_line(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ModelUnavailable, match=r"MB are needed .* 0 MB are free; free some room"):
        setting.pull()


def test_a_disk_that_fills_up_on_the_way_is_one_clear_line(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_append_member", full)
    with pytest.raises(ModelUnavailable, match="No space left on device; free some room"):
        setting.pull()


def test_a_cache_that_cannot_be_made_is_one_clear_line(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOOT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelUnavailable, match="MOOT_CACHE_DIR"):
        setting.pull()


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_not_asked_again_and_names_the_source(setting: Setting, status: int) -> None:
    setting.served.faults.status = status

    with pytest.raises(ModelUnavailable, match=r"hub: HF_HUB_OFFLINE is set; package index: .*fake-part1") as refused:
        setting.pull()

    assert len(setting.served.requests) == 1
    assert refused.value.__cause__ is not None
    answer = refused.value.__cause__.__cause__
    assert isinstance(answer, HTTPError)
    assert answer.closed


def test_no_source_in_reach_is_said_in_words(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")

    with pytest.raises(ModelUnavailable, match=r"no source could be used.*moot models pull fake.*--model"):
        setting.pull()


def test_the_hub_comes_first_and_its_bytes_are_checked_too(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cached_path(setting.model).parent / "from-hub"

    def fetch(served: bytes) -> Any:
        def hub_download(*_: Any) -> Path:
            whole.write_bytes(served)
            return whole

        return hub_download

    monkeypatch.setattr(download, "fetch_from_hub", fetch(b"something else"))
    setting.pull()
    assert content(setting)
    assert any("not the pinned file" in notice for notice in setting.notices)

    good = cached_path(setting.model).read_bytes()
    cached_path(setting.model).unlink()
    setting.served.requests.clear()
    monkeypatch.setattr(download, "fetch_from_hub", fetch(good))
    setting.pull()
    assert content(setting)
    assert setting.served.requests == []


def test_a_hub_out_of_reach_is_left_alone_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnavailable, match="does not answer"):
        hub.fetch_from_hub(CATALOGUE[0].hub, tmp_path)


def test_two_pulls_at_once_fetch_once(setting: Setting) -> None:
    pulls = [threading.Thread(target=setting.pull) for _ in range(3)]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join()

    assert content(setting)
    assert len(setting.fetched()) == len(setting.model.wheels)


def test_a_second_process_waits_and_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from moot.engine.models.cache import locked\n"
        "with locked(Path(sys.argv[1]), lambda: print('waiting', flush=True)): print('inside', flush=True)"
    )
    with locked(lock, lambda: None):
        other = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    with other:
        assert other.stdout.readline() == "inside\n"
    assert other.returncode == 0


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOOT_CACHE_DIR", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("MOOT_CACHE_DIR")
    assert cache_dir() == Path("/b/moot")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("/c/.cache/moot")


def test_a_machine_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MOOT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EngineError, match="set MOOT_CACHE_DIR"):
        cache_dir()


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: str(model.name))
def test_every_model_of_the_catalogue_is_pinned_piece_by_piece(model: Model) -> None:
    assert sum(wheel.member_size for wheel in model.wheels) == model.size
    for digest in (model.sha256, *(wheel.sha256 for wheel in model.wheels)):
        assert len(bytes.fromhex(digest)) == 32
    assert len({wheel.sha256 for wheel in model.wheels}) == len(model.wheels)
    assert model.licence
    assert model.origin


def test_a_model_that_is_missing_or_damaged_has_no_path(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moot.engine.models.catalogue.CATALOGUE", (setting.model,))
    with pytest.raises(ModelUnavailable, match="has not been downloaded; run 'moot models pull fake'"):
        model_path("fake")
    assert setting.pull() == model_path("fake")
    model_path("fake").write_bytes(b"GGUF")
    with pytest.raises(ModelUnavailable, match="is damaged"):
        model_path("fake")
