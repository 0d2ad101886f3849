"""Messages are typed, frozen and identified; codecs carry them whole, and refuse what is too large or no message."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import AgentMessage, InvalidPayload, MessageError, MessageTooLarge, Payload, ReplyTo, Request
from moot.agent.signature import reply_type
from moot.messaging.codec import Codec, JsonCodec, MsgpackCodec
from moot.messaging.message import message_type_of


class WeatherReport(Payload):
    city: str
    degrees: float


class AskWeather(Request[WeatherReport]):
    city: str


class Renamed(Payload):
    message_type: ClassVar[str] = "weather.v2"


def test_the_message_type_is_the_class_name_in_snake_case_unless_it_is_given() -> None:
    assert WeatherReport.message_type == "weather_report"
    assert Renamed.message_type == "weather.v2"
    assert message_type_of({"any": 1}, "given") == "given"


def test_plain_content_without_a_type_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match="message_type="):
        message_type_of({"any": 1})
    with pytest.raises(TypeError, match="forward"):
        message_type_of(AgentMessage("a", "b", 1, "t"))


def test_payloads_are_frozen() -> None:
    with pytest.raises(AttributeError):
        WeatherReport("Oslo", 3.0).city = "Rome"  # type: ignore[misc]


def test_a_request_declares_its_reply() -> None:
    assert reply_type(AskWeather) is WeatherReport
    assert reply_type(WeatherReport) is None


CODECS: list[Codec] = [JsonCodec(), MsgpackCodec()]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
messages = st.builds(
    AgentMessage,
    sender=st.text(),
    to=st.text(),
    content=plain,
    message_type=st.text(),
    sequence=st.integers(0, 2**53),
    incarnation=st.text(max_size=12),
    conversation=st.text(min_size=1),
    reply_to=st.none() | st.builds(ReplyTo, inbox=st.text(), key=st.integers(0, 2**53), deadline=st.none()),
    deadline=st.none() | st.floats(0, 2e9),
    chain=st.lists(st.text(), max_size=3).map(tuple),
    trace=st.none() | st.text(),
    priority=st.integers(-5, 5),
    attempt=st.integers(1, 9),
    causation=st.none() | st.text(),
    idempotency_key=st.none() | st.text(min_size=1),
    extra=st.none() | st.dictionaries(st.text(min_size=1).map("x-{}".format), plain, min_size=1, max_size=3),
)


@pytest.mark.parametrize("codec", CODECS)
@given(message=messages)
def test_a_message_survives_the_wire_whole(codec: Codec, message: AgentMessage) -> None:
    back = codec.decode(codec.encode(message))

    assert back == msgspec.structs.replace(message, idempotency_key=back.idempotency_key)
    assert back.id == message.id


@pytest.mark.parametrize("codec", CODECS)
def test_the_wire_form_has_the_names_of_the_reference_design(codec: Codec) -> None:
    data = codec.encode(AgentMessage("a", "b", WeatherReport("Oslo", 3.0), "weather_report", 7, "inc"))

    wire: dict[str, Any] = (msgspec.json if isinstance(codec, JsonCodec) else msgspec.msgpack).decode(data)

    assert wire["from"] == "a"
    assert wire["to"] == "b"
    assert wire["content"] == {"city": "Oslo", "degrees": 3.0}
    assert wire["message_type"] == "weather_report"
    assert wire["id"] == "inc-7"


@pytest.mark.parametrize("codec", CODECS)
def test_unknown_fields_are_kept_and_written_again(codec: Codec) -> None:
    encode = msgspec.json.encode if isinstance(codec, JsonCodec) else msgspec.msgpack.encode
    data = encode({"from": "a", "to": "b", "content": 1, "message_type": "t", "colour": {"red": 1}, "id": "m1"})

    message = codec.decode(data)

    assert message.extra == {"colour": {"red": 1}}
    assert message.id == "m1"
    assert codec.decode(codec.encode(message)).extra == {"colour": {"red": 1}}


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_a_message_error(codec: Codec, data: bytes) -> None:
    try:
        codec.decode(data)
    except MessageError:
        pass


@pytest.mark.parametrize("kind", [JsonCodec, MsgpackCodec])
def test_size_and_depth_are_bounded_in_both_directions(kind: type[JsonCodec | MsgpackCodec]) -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    deepest: Any = 1
    for _ in range(100_000):
        deepest = [deepest]
    strict, loose = kind(max_bytes=300, max_depth=64), kind(max_depth=500)

    with pytest.raises(MessageTooLarge, match="300"):
        strict.encode(AgentMessage("a", "b", "x" * 500, "t"))
    with pytest.raises(MessageTooLarge, match="300"):
        strict.decode(loose.encode(AgentMessage("a", "b", "x" * 500, "t")))
    with pytest.raises(MessageTooLarge, match="depth"):
        kind().encode(AgentMessage("a", "b", deep, "t"))
    with pytest.raises(MessageTooLarge, match="depth"):
        kind().decode(loose.encode(AgentMessage("a", "b", deep, "t")))
    with pytest.raises(MessageTooLarge, match="depth"):
        kind().encode(AgentMessage("a", "b", deepest, "t"))
    with pytest.raises(MessageTooLarge, match="depth"):
        JsonCodec().decode(b'{"content":' + b"[" * 100_000)


def test_content_that_cannot_be_encoded_is_named() -> None:
    with pytest.raises(InvalidPayload, match="cannot be encoded"):
        JsonCodec().encode(AgentMessage("a", "b", object(), "t"))


def test_msgpack_carries_bytes_as_they_are() -> None:
    codec = MsgpackCodec()

    assert codec.decode(codec.encode(AgentMessage("a", "b", b"\x00\xff", "t"))).content == b"\x00\xff"
