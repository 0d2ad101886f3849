"""The team as one thing to use: a manager with a researcher, an analyst and a writer, and what they found so far.

`research` asks one question. `ResearchTeam` stays up for several, and keeps what
the agents report on the way, so that an interrupted run ends with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import msgspec

from moot.clock import LoopClock
from moot.engine.base import Engine
from moot.errors import TurnError
from moot.manager.manager import AgentManager, ManagerStats
from moot.teams.research.analyst import AnalystAgent
from moot.teams.research.messages import Progress, ResearchRequest
from moot.teams.research.profile import Profile
from moot.teams.research.researcher import ResearcherAgent
from moot.teams.research.sources.ingest import SourceError
from moot.teams.research.values import Claim, Depth, Difference, Note, Report, Statistics
from moot.teams.research.writer import WriterAgent
from moot.telemetry.turn_times import TurnTimes

__all__ = ["ResearchTeam", "research"]

OnProgress = Callable[[Progress], None]
_WAIT = 24 * 3600.0
_SHOWN = 4
_WORTH = 0.45
_LEADER = "researcher_1"


async def research(
    question: str,
    sources: Iterable[str | os.PathLike[str]],
    *,
    engine: Engine | str | None = None,
    depth: Depth = "standard",
    on_progress: OnProgress | None = None,
) -> Report:
    """Answer a question from files and folders; without an engine the answer is extracts.

    Raises:
        SourceError: nothing to read. An engine that fails raises nothing: the report has the status ``partial``.
    """
    async with ResearchTeam(sources, engine=engine) as team:
        return await team.research(question, depth=depth, on_progress=on_progress)


class ResearchTeam:
    """``researcher_1``, ``analyst_1`` and ``writer_1`` on a manager of their own; use it with ``async with``.

    With the ``url`` of a durable backend a run under a ``run_id`` survives the process, and what the engine has
    answered is not asked again.
    """

    def __init__(
        self,
        sources: Iterable[str | os.PathLike[str]],
        *,
        engine: Engine | str | None = None,
        profile: Profile | None = None,
        url: str = "memory://",
    ) -> None:
        self.manager = AgentManager(url, engine=engine)
        self._agents = (
            ResearcherAgent(_LEADER, tuple(os.fspath(source) for source in sources), profile),
            AnalystAgent("analyst_1"),
            WriterAgent("writer_1", profile),
        )
        self._request = ResearchRequest()
        self._found = _SoFar()
        self._times: _Times | None = None
        self._before: ManagerStats | None = None
        self._began = 0.0
        self._model = engine if isinstance(engine, str) else engine.name if engine is not None else ""

    async def __aenter__(self) -> Self:
        self._times = _Times(LoopClock(asyncio.get_running_loop()))
        self.manager.observe(self._times)
        for agent in self._agents:
            await self.manager.register(agent)
        await self.manager.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.manager.stop(drain=False)

    async def research(
        self,
        question: str,
        *,
        depth: Depth = "standard",
        on_progress: OnProgress | None = None,
        run_id: str | None = None,
    ) -> Report:
        """Ask the researcher one question. Cancelling it leaves what was found in `so_far`.

        Under a ``run_id`` a question is answered once: who asks again joins the run, or is given its report.
        """
        times = self._times
        if times is None:
            raise RuntimeError("the team has not started; use it with 'async with ResearchTeam(…) as team'")
        self._request = ResearchRequest(question=question, depth=depth)
        self._found = _SoFar()
        self._before, self._began = self.manager.stats(), times.now()
        times.agents.clear()
        try:
            ask = self.manager.ask(_LEADER, self._request, timeout=_WAIT, message_id=run_id)
            async with self.manager.stream(ask) as stream:
                async for piece in stream:
                    self._found.add(piece)
                    if on_progress is not None:
                        on_progress(piece)
                report = await stream.reply()
        except TurnError as error:
            if error.error == SourceError.__name__:
                raise SourceError(error.text) from error
            raise
        return self._with_statistics(report)

    def so_far(self, notice: str) -> Report:
        """The report that can be made of what was found until now; ``notice`` says why it ends here."""
        report = self._found.report(self._request, notice)
        return self._with_statistics(msgspec.structs.replace(report, model=self._model))

    def _with_statistics(self, report: Report) -> Report:
        times, before, after = self._times, self._before, self.manager.stats()
        if times is None or before is None:
            return report
        statistics = msgspec.structs.replace(
            report.statistics,
            seconds=round(times.now() - self._began, 2),
            messages=after.messages - before.messages,
            turns=after.turns - before.turns,
            agent_seconds=times.own_seconds(),
        )
        return msgspec.structs.replace(report, statistics=statistics)


class _SoFar:
    """What the progress of a run has told."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}
        self._claims: list[Claim] = []
        self._differences: list[Difference] = []

    def add(self, progress: Progress) -> None:
        self._notes.update((note.id, note) for note in progress.notes)
        self._claims += progress.claims
        self._differences += progress.differences

    def report(self, request: ResearchRequest, notice: str) -> Report:
        ranked = sorted(self._notes.values(), key=lambda note: -note.score)[:_SHOWN]
        best = {note.id for note in ranked if note.score >= _WORTH * ranked[0].score}
        named = {note_id for claim in self._claims for note_id in (*claim.notes, *claim.disputed_by)}
        named |= {note_id for difference in self._differences for note_id in difference.notes}
        return Report(
            question=request.text,
            status="partial",
            depth=request.depth,
            claims=tuple(self._claims),
            notes=tuple(note for note in self._notes.values() if note.id in named or note.id in best),
            differences=tuple(self._differences),
            notices=(notice,),
            statistics=Statistics(kept=sum(not claim.is_quote for claim in self._claims)),
        )


class _Times(TurnTimes):
    """Times of the agents' turns; an asker's own time is without that of those it waited for."""

    def now(self) -> float:
        return self._clock.now()

    def own_seconds(self) -> dict[str, float]:
        """Seconds by agent; readers, who work side by side, count together."""
        seconds: dict[str, float] = {}
        for agent, times in self.agents.items():
            name = "readers" if ".reader_" in agent else agent
            seconds[name] = seconds.get(name, 0.0) + times.seconds
        others = sum(value for name, value in seconds.items() if name != _LEADER)
        seconds[_LEADER] = max(0.0, seconds.get(_LEADER, 0.0) - others)
        return {name: round(seconds[name], 2) for name in sorted(seconds)}
