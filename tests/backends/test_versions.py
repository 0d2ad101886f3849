"""An old file opens with new code: states and payloads of yesterday's classes become those of today's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, Payload, Reason, Request, StateUnreadable, handles, upgrade
from moot.messaging.codec import JsonCodec
from moot.messaging.message import AgentMessage


class OldNote(Payload):
    message_type = "note"
    text: str


class Note(Payload):
    """Of the second version a list of lines, of the third with an author."""

    payload_version: ClassVar[int] = 3
    lines: list[str]
    author: str

    @staticmethod
    @upgrade(from_version=1)
    def _in_lines(old: Any) -> Any:
        return {"lines": old["text"].splitlines()}

    @staticmethod
    @upgrade(from_version=2)
    def _with_author(old: Any) -> Any:
        return {**old, "author": "unknown"}


class NewestNote(Payload):
    message_type = "note"
    payload_version: ClassVar[int] = 4
    lines: list[str]


class Read(Request[list[str]]):
    """What was read."""


class OldState(msgspec.Struct, frozen=True):
    count: int = 0


class State(msgspec.Struct, frozen=True):
    lines: tuple[str, ...] = ()


class OldReader(Agent[OldState]):
    @handles
    async def note(self, message: OldNote, ctx: AgentContext[OldState]) -> None:
        ctx.state = OldState(ctx.state.count + 1)


class Reader(Agent[State]):
    state_version = 2

    @staticmethod
    @upgrade(from_version=1)
    def _in_lines(old: Any) -> Any:
        return {"lines": [f"({old['count']} before)"]}

    @handles
    async def note(self, message: Note, ctx: AgentContext[State]) -> None:
        ctx.state = State((*ctx.state.lines, *message.lines, message.author))

    @handles
    async def read(self, message: Read, ctx: AgentContext[State]) -> list[str]:
        return list(ctx.state.lines)


async def old_file(path: Path) -> str:
    """A file of the old code: a state, and a timer that has yet to fire."""
    url = f"sqlite:///{path}"

    class Scheduler(OldReader):
        @handles
        async def read(self, message: Read, ctx: AgentContext[OldState]) -> list[str]:
            ctx.schedule(3600, OldNote("one\ntwo"))
            return []

    async with AgentManager(url) as manager:
        await manager.register(Scheduler("reader"))
        await manager.tell("reader", OldNote("a"))
        await manager.ask("reader", Read())
    return url


async def test_states_and_payloads_of_an_older_version_are_led_to_the_present_one(tmp_path: Path) -> None:
    async with AgentManager(await old_file(tmp_path / "team.db")) as manager:
        await manager.register(Reader("reader"))
        assert await manager.ask("reader", Read()) == ["(1 before)"]
        await asyncio.sleep(4000)

        assert await manager.ask("reader", Read()) == ["(1 before)", "one", "two", "unknown"]


async def test_a_state_that_is_newer_than_its_class_stops_the_start_and_is_left_as_it_is(tmp_path: Path) -> None:
    url = await old_file(tmp_path / "team.db")
    async with AgentManager(url) as manager:
        await manager.register(Reader("reader"))
        await manager.ask("reader", Read())
        await manager.tell("reader", Note(["x"], "me"))
    manager = AgentManager(url)
    await manager.register(OldReader("reader"))

    with pytest.raises(StateUnreadable, match=r"'OldReader', version 2, cannot be read as version 1: .* newer code"):
        await manager.start()

    async with AgentManager(url) as manager:
        await manager.register(Reader("reader"))
        assert (await manager.ask("reader", Read()))[-2:] == ["x", "me"]


class Stuck(Agent[State]):
    state_version = 7

    async def on_start(self, ctx: AgentContext[State]) -> None:
        """It handles nothing."""


async def test_a_missing_step_is_named(tmp_path: Path) -> None:
    manager = AgentManager(await old_file(tmp_path / "team.db"))
    await manager.register(Stuck("reader"))

    with pytest.raises(StateUnreadable, match=r"nothing leads from version 1; add @upgrade\(from_version=1\)"):
        await manager.start()


async def test_a_payload_that_is_newer_than_its_class_is_a_dead_letter() -> None:
    async with AgentManager() as manager:
        await manager.register(Reader("reader"))
        message = JsonCodec().decode(JsonCodec().encode(AgentMessage("x", "reader", NewestNote(["a"]), "note")))
        await manager.get_message_sender()(message)
        await manager.settle()

        (letter,) = manager.dead_letters
        assert letter.reason is Reason.INVALID
        assert "newer code" in letter.error


async def test_plain_content_that_says_no_version_is_of_the_present_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'team.db'}"
    plain = {"lines": ["a"], "author": "me"}

    class Scheduler(Reader):
        @handles("later")
        async def later(self, message: AgentMessage, ctx: AgentContext[State]) -> None:
            ctx.schedule(3600, plain, message_type="note")

    async with AgentManager(url) as manager:
        await manager.register(Scheduler("reader"))
        await manager.tell("reader", plain, message_type="note")
        await manager.tell("reader", {}, message_type="later")
        assert await manager.ask("reader", Read()) == ["a", "me"]
    async with AgentManager(url) as manager:
        await manager.register(Reader("reader"))
        await asyncio.sleep(4000)

        assert await manager.ask("reader", Read()) == ["a", "me", "a", "me"]


def test_versions_are_counted_from_1() -> None:
    with pytest.raises(ValueError, match="versions are counted from 1, not 0"):
        upgrade(from_version=0)


async def test_an_agent_whose_state_cannot_be_read_is_not_registered(tmp_path: Path) -> None:
    async with AgentManager(await old_file(tmp_path / "team.db")) as manager:
        with pytest.raises(StateUnreadable):
            await manager.register(Stuck("reader"))
        assert "reader" not in manager.directory

        await manager.register(Reader("reader"))
        assert await manager.ask("reader", Read()) == ["(1 before)"]


async def test_an_id_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    async with AgentManager(f"sqlite:///{tmp_path / 'team.db'}") as manager:
        with pytest.raises(ValueError, match="use Unicode text as an id"):
            await manager.register(Reader("\ud800"))
        with pytest.raises(ValueError, match="use Unicode text"):
            await manager.shared_state.set("\ud800", 1)
        await manager.register(Reader("reader"))
        with pytest.raises(ValueError, match="use Unicode text"):
            await manager.tell("reader", Note([], ""), message_id="\ud800")
        await manager.tell("reader", Note(["still"], "writes"))
        assert await manager.ask("reader", Read()) == ["still", "writes"]
