"""Every schema that is sent has a bound on each string, number and list."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from moot.engine.schema import MAX_ITEMS, MAX_LENGTH, MAX_NUMBER, PRECISION, bounded_schema


class Note(msgspec.Struct):
    text: str
    tags: list[str]
    score: float
    count: Annotated[int, msgspec.Meta(ge=0, le=9)]
    kind: Literal["a", "b"]
    next: Note | None = None


def unbounded(node: Any, path: str = "$") -> list[str]:
    """Independent of the code under test: paths of nodes that admit values of any size."""
    found = []
    if isinstance(node, dict):
        kind = node.get("type")
        kinds = [kind] if isinstance(kind, str) else kind or []
        if not {"enum", "const", "$ref"} & node.keys():
            if "string" in kinds and not {"maxLength", "pattern", "format"} & node.keys():
                found.append(path)
            if "array" in kinds and "maxItems" not in node:
                found.append(path)
            if {"number", "integer"} & set(kinds) and not {"maximum", "exclusiveMaximum"} & node.keys():
                found.append(path)
        for key, child in node.items():
            found += unbounded(child, f"{path}.{key}")
    if isinstance(node, list):
        for index, child in enumerate(node):
            found += unbounded(child, f"{path}[{index}]")
    return found


def test_a_struct_with_every_kind_of_field_becomes_bounded() -> None:
    schema = msgspec.json.schema(Note)
    assert unbounded(schema)

    bounded = bounded_schema(schema)

    assert unbounded(bounded) == []
    note = bounded["$defs"]["Note"]["properties"]
    assert note["text"]["maxLength"] == MAX_LENGTH
    assert note["tags"]["maxItems"] == MAX_ITEMS
    assert (note["score"]["minimum"], note["score"]["maximum"]) == (-MAX_NUMBER, MAX_NUMBER)
    assert note["score"]["multipleOf"] == PRECISION
    assert (note["count"]["minimum"], note["count"]["maximum"]) == (0, 9)


def test_bounds_of_the_author_stay_and_the_schema_itself_is_not_changed() -> None:
    schema = {"type": "array", "items": {"type": "string", "maxLength": 9999}, "minItems": 40}
    before = repr(schema)

    bounded = bounded_schema(schema)

    assert bounded == {**schema, "maxItems": 40}
    assert repr(schema) == before


def test_formats_with_a_length_of_their_own_get_none() -> None:
    assert bounded_schema({"type": "string", "format": "date"}) == {"type": "string", "format": "date"}
    assert "maxLength" in bounded_schema({"type": "string", "format": "email"})


def test_objects_admit_what_they_name_unless_they_say_more() -> None:
    assert bounded_schema({"type": "object", "properties": {}})["additionalProperties"] is False
    mapping = bounded_schema({"type": "object", "additionalProperties": {"type": "string"}})
    assert mapping["additionalProperties"]["maxLength"] == MAX_LENGTH


@pytest.mark.parametrize(
    "schema", [{}, {"type": "nonsense"}, {"type": "object", "properties": {"deep": {"description": "anything"}}}]
)
def test_a_node_that_says_nothing_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"schema node \$"):
        bounded_schema(schema)


@pytest.mark.parametrize("reference", ["#/$defs/Missing", "https://elsewhere/schema.json", "Missing"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        bounded_schema({"type": "array", "items": {"$ref": reference}, "$defs": {"Here": {"type": "null"}}})


def test_a_reference_to_itself_is_fine() -> None:
    tree = {"type": "object", "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}

    assert bounded_schema(tree)["properties"]["child"]["anyOf"][0] == {"$ref": "#"}
