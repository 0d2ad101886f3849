"""A system does the same on every backend, and a durable one keeps it: the suite, on ours and on broken ones."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("moot.testing.conformance")

from moot.backends import Backend, Journal, MemoryBackend, Stored  # noqa: E402
from moot.errors import MootError  # noqa: E402
from moot.testing import conformance  # noqa: E402
from moot.testing.conformance import Case, Lives, Store, cases  # noqa: E402
from moot.testing.simulation.backend import SimulatedBackend  # noqa: E402
from tests.backends.stores import STORES, MemoryStore, SimulatedStore  # noqa: E402

PLAYED: Any = [pytest.param(store, case, id=f"{store.__name__}-{case}") for store in STORES for case in cases(store)]


@pytest.mark.parametrize(("store", "case"), PLAYED)
def test_a_backend_conforms(store: Any, case: Case, tmp_path: Path) -> None:
    case.play(store(tmp_path))


@pytest.mark.parametrize(("store", "case"), [one for one in PLAYED if one.id.endswith("[failure]")])
def test_a_backend_conforms_where_hardly_any_mail_is_in_memory(
    store: Any, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moot.backends.sqlite.unread._PAGE", 2)
    monkeypatch.setattr("moot.messaging.mailbox._AT_HAND", 1)

    case.play(store(tmp_path))


class Deaf(SimulatedBackend):
    """A disk that does not hear one of the things that it is told."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.call = call

    async def open(self, failed: Callable[[MootError], None]) -> Any:
        journal, stored = await super().open(failed)
        setattr(journal, self.call, (lambda: _done()) if self.call == "synced" else lambda *told: -1)
        if self.call == "after_sync":
            setattr(journal, self.call, lambda callback: callback(None))
        return journal, stored


async def _done() -> None:
    pass


class DeafStore(SimulatedStore):
    call = ""

    def __init__(self, folder: Path) -> None:
        self.disk = Deaf(self.call)


CALLS = [name for name, member in vars(Journal).items() if inspect.isfunction(member) and not name.startswith("_")]


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"caught_up"}))
def test_a_backend_that_does_not_hear_a_call_is_found(call: str, tmp_path: Path) -> None:
    store = type("ThisStore", (DeafStore,), {"call": call})

    assert found_by(store, tmp_path)


class Forgetful(SimulatedBackend):
    """A disk that brings back less than it holds."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    async def open(self, failed: Callable[[MootError], None]) -> Any:
        journal, stored = await super().open(failed)
        setattr(stored, self.part, type(getattr(stored, self.part))() if self.part != "run" else 1)
        return journal, stored


@pytest.mark.parametrize("part", sorted({*Stored.__struct_fields__} - {"shared", "changes"}))  # (the store has those)
def test_a_backend_that_forgets_something_is_found(part: str, tmp_path: Path) -> None:
    class ForgetfulStore(SimulatedStore):
        def __init__(self, folder: Path) -> None:
            self.disk = Forgetful(part)

    assert found_by(ForgetfulStore, tmp_path)


def test_a_backend_that_forgets_mail_is_found(tmp_path: Path) -> None:
    class Empty(SimulatedBackend):
        async def open(self, failed: Callable[[MootError], None]) -> Any:
            journal, stored = await super().open(failed)
            journal._unread.clear()
            return journal, stored

    class EmptyStore(SimulatedStore):
        def __init__(self, folder: Path) -> None:
            self.disk = Empty()

    assert found_by(EmptyStore, tmp_path)


def test_a_backend_whose_mail_comes_back_in_another_order_is_found(tmp_path: Path) -> None:
    class Shuffling(SimulatedBackend):
        async def open(self, failed: Callable[[MootError], None]) -> Any:
            journal, stored = await super().open(failed)
            for mail in journal._unread.values():
                mail.reverse()
            return journal, stored

    class ShufflingStore(SimulatedStore):
        def __init__(self, folder: Path) -> None:
            self.disk = Shuffling()

    assert found_by(ShufflingStore, tmp_path)


def test_a_backend_that_keeps_nothing_and_says_it_does_is_found_at_once(tmp_path: Path) -> None:
    class LyingStore(MemoryStore):
        is_durable = True

    wrong = [case.name for case in cases(LyingStore) if _fails(case, LyingStore, tmp_path)]

    assert len(wrong) > 30


def found_by(store: Any, folder: Path) -> str | None:
    """The first case that finds something wrong with a kind of store."""
    durable = [case for case in cases(store) if case.ending is not None]
    return next((str(case) for case in durable if _fails(case, store, folder)), None)


def _fails(case: Case, store: Any, folder: Path) -> bool:
    try:
        case.play(store(folder))
    except Exception:  # noqa: BLE001 - whatever is raised, it was found
        return True
    return False


def test_every_case_is_listed_and_makes_a_claim() -> None:
    found = pkgutil.walk_packages(conformance.__path__, f"{conformance.__name__}.")
    modules = [import_module(module.name) for module in found]
    written = {
        name
        for module in modules
        for name, fn in vars(module).items()
        if inspect.iscoroutinefunction(fn) and list(inspect.signature(fn).parameters) == ["lives"] and name[0] != "_"
    }

    listed = cases(SimulatedStore)

    assert {case.name for case in listed} == written
    assert all(case.claim for case in listed)
    assert len(cases(MemoryStore)) < len(listed)


def test_a_store_that_cannot_fail_is_not_asked_to() -> None:
    class Sturdy(Store):
        is_durable = True

        def backend(self) -> Backend:
            return MemoryBackend()

    assert {case.ending for case in cases(Sturdy)} == {None, "stop"}
    with pytest.raises(NotImplementedError, match="can_fail"):
        Lives(Sturdy()).store.fail()
