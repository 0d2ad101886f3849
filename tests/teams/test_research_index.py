"""The index of the sources is closed by whoever made it, however a run ends.

That no connection to a database is left open is checked after every test (`conftest.py`); these are the ends that a
run can have.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from moot.manager.manager import AgentManager
from moot.policies import Backoff, RetryPolicy, Supervision
from moot.teams.research import ResearcherAgent, ResearchTeam, SourceError, research
from moot.teams.research.messages import ResearchRequest
from moot.teams.research.sources.index import PassageIndex

TEXT = "# Chips\n\nThe Willow chip has 105 qubits.\n"
QUESTION = "How many qubits does the Willow chip have?"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "chips.md"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01"], ids=["missing", "empty", "binary"])
async def test_sources_that_cannot_be_used_leave_no_index(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "source.md"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SourceError):
        await research(QUESTION, [path])


async def test_other_sources_take_the_place_of_the_first(tmp_path: Path, source: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text(TEXT.replace("105", "72"))

    async with AgentManager() as manager:
        await manager.register(ResearcherAgent("researcher"))
        for path in (source, other, source):
            report = await manager.ask("researcher", ResearchRequest(question="Who?", sources=(str(path),)))
            assert report.status == "not_found"


async def test_an_agent_that_is_made_anew_closes_the_index_of_its_earlier_life(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AgentManager(supervision=_restarted()) as manager:
        await manager.register(ResearcherAgent("researcher", [str(source)]), retry=RetryPolicy(max_attempts=1))
        for _ in range(2):  # nobody offers an analysis, so each run fails after the index was made
            with pytest.raises(Exception, match="analysis"):
                await manager.ask("researcher", ResearchRequest(question=QUESTION))
            await manager.settle()

        assert sum(message.endswith(": restart") for message in caplog.messages) == 2


def test_a_run_that_is_cancelled_while_a_thread_reads_leaves_no_index(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = _held(monkeypatch)

    async def cancelled() -> None:
        async with ResearchTeam([source]) as team:
            run = asyncio.create_task(team.research(QUESTION))
            await asyncio.to_thread(begun.wait)
            run.cancel()
            await asyncio.wait([run])
        go_on.set()

    asyncio.run(cancelled())


def test_a_team_that_stops_while_a_thread_reads_leaves_no_index(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = _held(monkeypatch)

    async def stopped() -> None:
        async with ResearchTeam([source]) as team:
            run = asyncio.create_task(team.research(QUESTION))
            await asyncio.to_thread(begun.wait)
        go_on.set()
        await asyncio.wait([run])
        assert run.exception() is not None

    asyncio.run(stopped())


def test_closing_ends_who_still_fills_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = _held(monkeypatch)
    index = PassageIndex()
    ended: list[BaseException] = []
    reader = threading.Thread(target=_outcome, args=(lambda: index.fill([str(source)]), ended))
    reader.start()
    begun.wait()

    index.close()
    go_on.set()
    reader.join()

    assert [type(error).__name__ for error in ended] == ["ProgrammingError"]


def _restarted() -> Supervision:
    return Supervision(directives=((Exception, "restart"),), backoff=Backoff(first=0, limit=0))


def _held(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let a file that is read tell that it is, and wait until it may be."""
    begun, go_on = threading.Event(), threading.Event()
    read = Path.read_bytes

    def wait_and_read(path: Path) -> bytes:
        begun.set()
        go_on.wait()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", wait_and_read)
    return begun, go_on


def _outcome(work: Callable[[], object], ended: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        ended.append(error)
