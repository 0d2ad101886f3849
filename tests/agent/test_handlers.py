"""All of a handler is checked when its agent is registered: what could never run fails there, and says why."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, Payload, Request, handles


class Ping(Request[str]):
    text: str = "ping"


class Pong(Request[str]):
    text: str = "pong"


class Ping2(Payload):
    message_type = "ping"


class Both(Agent):
    @handles
    async def either(self, anything: Ping | Pong, ctx: AgentContext) -> str:
        return f"either {anything.text}"


async def answer(agent: Any, content: Any, message_type: str | None = None) -> Any:
    async with AgentManager() as manager:
        agent_id = await manager.register(agent)
        return await manager.ask(agent_id, content, message_type=message_type)


# what works


async def test_a_union_handles_each_of_its_types() -> None:
    assert await answer(Both("a"), Ping()) == "either ping"
    assert await answer(Both("a"), Pong()) == "either pong"


async def test_a_handler_may_be_plain_or_async_and_take_a_context_or_not() -> None:
    class Plain(Agent):
        @handles
        def ping(self, message: Ping) -> str:
            return "plain"

        @handles
        def pong(self, message: Pong, ctx: AgentContext) -> str:
            return f"plain in {ctx.agent_id}"

    class Async(Agent):
        @handles
        async def ping(self, message: Ping) -> str:
            return "async"

        @handles
        async def pong(self, message: Pong, ctx: AgentContext) -> str:
            return f"async in {ctx.agent_id}"

    assert [await answer(Plain("a"), content) for content in (Ping(), Pong())] == ["plain", "plain in a"]
    assert [await answer(Async("a"), content) for content in (Ping(), Pong())] == ["async", "async in a"]


async def test_types_can_be_named_instead_as_classes_or_as_text() -> None:
    class Named(Agent):
        @handles(Ping, Pong)
        def both(self, message: Any) -> str:
            return type(message).__name__

        @handles("raw")
        def raw(self, message: dict[str, int]) -> int:
            return message["n"]

        @handles("whole")
        def whole(self, message):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            return message.message_type

    assert await answer(Named("a"), Pong()) == "Pong"
    assert await answer(Named("a"), {"n": 3}, "raw") == 3
    assert await answer(Named("a"), [1], "whole") == "whole"


async def test_a_subclass_overrides_a_handler_by_name() -> None:
    class Louder(Both):
        async def either(self, anything: Ping | Pong, ctx: AgentContext) -> str:
            return "never"

        @handles
        def ping(self, message: Ping) -> str:
            return "louder"

    class Loudest(Louder):
        @handles
        def ping(self, message: Ping) -> str:
            return super().ping(message) + "!"

    assert await answer(Loudest("a"), Ping()) == "louder!"
    with pytest.raises(Exception, match="does not handle 'pong'; it handles: ping"):
        await answer(Louder("a"), Pong())


async def test_a_subclass_handler_of_the_same_type_goes_before_the_inherited_one() -> None:
    class Special(Both):
        @handles
        def special(self, message: Pong) -> str:
            return "special"

    assert await answer(Special("a"), Pong()) == "special"
    assert await answer(Special("a"), Ping()) == "either ping"


async def test_handle_message_takes_what_no_handler_does() -> None:
    class Fallback(Both):
        async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> str:
            return f"fallback {message.message_type}"

    assert await answer(Fallback("a"), Ping()) == "either ping"
    assert await answer(Fallback("a"), {}, "other") == "fallback other"


async def test_types_may_be_local_or_come_later_in_the_module() -> None:
    class Local(Request[int]):
        n: int

    class Handling(Agent):
        @handles
        def local(self, message: Local) -> int:
            return message.n

        @handles
        def later(self, message: Later) -> str:
            return "later"

    assert await answer(Handling("a"), Local(3)) == 3
    assert await answer(Handling("a"), Later()) == "later"


class Later(Payload):
    pass


async def test_a_function_is_an_agent_of_its_first_annotation_or_of_everything() -> None:
    class Doubling(Request[int]):
        n: int

    def double(message: Doubling) -> int:
        return message.n * 2

    async def either(message: Ping | Pong, ctx: AgentContext) -> str:
        return f"{ctx.agent_id} {message.text}"

    def everything(message):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return message.message_type

    class Bound:
        def method(self, message: Ping) -> str:
            return message.text

    assert await answer(double, Doubling(4)) == 8
    assert await answer(either, Pong()) == "either pong"
    assert await answer(everything, {}, "anything") == "anything"
    assert await answer(Bound().method, Ping()) == "ping"


# what is refused


async def refused(agent: Any, match: str) -> None:
    async with AgentManager() as manager:
        with pytest.raises(TypeError, match=match):
            await manager.register(agent)


async def test_an_agent_that_handles_nothing_is_refused() -> None:
    class Empty(Agent):
        pass

    await refused(Empty("a"), "'Empty' handles nothing")


async def test_two_handlers_for_one_message_type_in_one_class_are_refused() -> None:
    class Twice(Agent):
        @handles
        def one(self, message: Ping) -> None: ...

        @handles
        def two(self, message: Ping) -> None: ...

    class SameName(Agent):
        @handles
        def one(self, message: Ping) -> None: ...

        @handles
        def two(self, message: Ping2) -> None: ...

    def twice(message: Ping | Ping2) -> None: ...

    await refused(Twice("a"), "two handlers for message type 'ping': 'one' and 'two'")
    await refused(SameName("a"), "give one payload another message_type")
    await refused(twice, "two handlers for message type 'ping'")


async def test_annotations_that_are_no_payload_are_refused() -> None:
    class Wrong(Agent):
        @handles
        def wrong(self, message: int) -> None: ...

    class Optional(Agent):
        @handles
        def optional(self, message: Ping | None) -> None: ...

    class Missing(Agent):
        @handles
        def missing(self, message) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    def wrong(message: dict[str, int]) -> None: ...

    for agent in (Wrong("a"), Optional("a"), Missing("a"), wrong):
        await refused(agent, "annotate its first parameter with a Payload class")


async def test_an_annotation_that_cannot_be_resolved_is_refused() -> None:
    class Unresolved(Agent):
        @handles
        def unresolved(self, message: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    await refused(Unresolved("a"), "cannot be resolved")


@pytest.mark.parametrize("count", [0, 3, 4])
async def test_a_handler_takes_a_message_and_perhaps_a_context(count: int) -> None:
    def none(self: Any) -> None: ...
    def three(self: Any, message: Ping, ctx: AgentContext, more: int) -> None: ...
    def four(self: Any, message: Ping, ctx: AgentContext, more: int, most: int) -> None: ...

    shapes: dict[int, Any] = {0: none, 3: three, 4: four}
    await refused(type("Odd", (Agent,), {"fn": handles(shapes[count])})("a"), "must take a message")


async def test_a_parameter_that_would_never_be_given_is_refused() -> None:
    class Keyword(Agent):
        @handles
        def keyword(self, message: Ping, *, must: int) -> None: ...

    class Defaults(Agent):
        @handles
        def defaults(self, message: Ping, *rest: int, may: int = 3, **more: int) -> str:
            return str(may)

    await refused(Keyword("a"), "must take a message")
    assert await answer(Defaults("a"), Ping()) == "3"


async def test_generators_are_refused() -> None:
    class Yielding(Agent):
        @handles
        def pieces(self, message: Ping) -> Iterator[int]:
            yield 1

    class AsyncYielding(Agent):
        @handles
        async def pieces(self, message: Ping) -> AsyncIterator[int]:
            yield 1

    for agent in (Yielding("a"), AsyncYielding("a")):
        await refused(agent, "is a generator; return the answer, use ctx.progress")


@pytest.mark.parametrize("wrap", [staticmethod, classmethod])
async def test_a_static_or_class_method_is_refused_and_not_passed_over(wrap: Callable[..., Any]) -> None:
    def on_ping(message: Ping) -> None: ...

    outside = type("Outside", (Agent,), {"fn": wrap(handles(on_ping)), "pong": Both.either})

    await refused(outside("a"), "is no method")
    with pytest.raises(TypeError, match="@handles takes a method"):
        handles(wrap(on_ping))


@pytest.mark.parametrize("arguments", [(3,), (int,), (Ping, 3), (object(),), ()])
def test_what_handles_cannot_mean_is_refused_at_once(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="@handles takes a method, Payload classes or message types"):
        handles(*arguments)


async def test_a_callable_without_a_name_is_refused_with_a_reason() -> None:
    def fn(message: Ping, more: int) -> None: ...

    await refused(functools.partial(fn, more=3), "has no name")
