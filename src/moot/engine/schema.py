"""JSON schemas that always end: every string, number and list of an answer gets a bound.

A grammar built from an unbounded schema lets a small model write for ever (a
confidence of 1000000000000, a list that repeats until the tokens run out), so
bounds are added where the author left them out. A valid answer is still not a
right one: validate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["bounded_schema"]

MAX_LENGTH = 400
MAX_ITEMS = 16
MAX_NUMBER = 1_000_000_000
PRECISION = 0.0001
MOST_AT_LEAST = 10_000
"""Letters or items that a schema may demand. An engine writes a rule for each, which takes memory without end."""
_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})
_BOUNDED_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_NODES = ("items", "additionalProperties", "not")
_DECIDED_ELSEWHERE = frozenset({"$ref", "enum", "const", "anyOf", "oneOf", "allOf"})


def bounded_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``schema`` with ``maxLength``, ``maxItems``, ``minimum`` and ``maximum`` where they are missing.

    Numbers also get ``multipleOf``, which bounds their digits, and objects admit no properties
    beyond those named unless the schema says so. Raises `ValueError` for a node of no or unknown
    type, since it would admit anything of any length, for a reference that leads nowhere, and for a
    minimum that no answer reaches.
    """
    _check_references(schema, schema)
    return _bounded(schema, "$")


def _check_references(node: Any, root: Mapping[str, Any]) -> None:
    # An engine may drop a whole grammar silently for one reference that it cannot follow.
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and not _leads_somewhere(reference, root):
            raise ValueError(f"schema reference {reference!r} leads nowhere; define it under $defs")
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        _check_references(child, root)


def _leads_somewhere(reference: str, root: Mapping[str, Any]) -> bool:
    start, *steps = reference.split("/")
    place: Any = root
    for step in steps:
        if not isinstance(place, Mapping) or step not in place:
            return False
        place = place[step]
    return start == "#"


def _bounded(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    result = dict(node)
    for key in _LISTS:
        if isinstance(node.get(key), list):
            result[key] = [_bounded(child, f"{path}.{key}[{index}]") for index, child in enumerate(node[key])]
    for key in _MAPS:
        if isinstance(node.get(key), Mapping):
            result[key] = {name: _bounded(child, f"{path}.{name}") for name, child in node[key].items()}
    for key in _NODES:
        if isinstance(node.get(key), Mapping):
            result[key] = _bounded(node[key], f"{path}.{key}")
    kinds = _kinds(node)
    if not kinds and not _DECIDED_ELSEWHERE & node.keys():
        raise ValueError(f"schema node {path} names no type, so nothing bounds it; give it a type, an enum or a $ref")
    if unknown := kinds - _TYPES:
        raise ValueError(f"schema node {path} has the unknown type {min(unknown)!r}; use one of {sorted(_TYPES)}")
    for key in ("minItems", "minLength", "minProperties"):
        if isinstance(least := node.get(key), int) and least > MOST_AT_LEAST:
            raise ValueError(f"schema node {path} asks for {key} {least:,}; no answer has so many, ask for less")
    if not {"enum", "const", "$ref"} & node.keys():
        _add_bounds(result, kinds)
    return result


def _kinds(node: Mapping[str, Any]) -> frozenset[str]:
    kind = node.get("type")
    if kind is None:
        implied = {"properties": "object", "items": "array", "prefixItems": "array"}
        return frozenset(value for key, value in implied.items() if key in node)
    return frozenset([kind]) if isinstance(kind, str) else frozenset(kind)


def _add_bounds(node: dict[str, Any], kinds: frozenset[str]) -> None:
    if "string" in kinds and "pattern" not in node and node.get("format") not in _BOUNDED_FORMATS:
        node.setdefault("maxLength", max(MAX_LENGTH, node.get("minLength", 0)))
    if kinds & {"integer", "number"}:
        if "exclusiveMinimum" not in node:
            node.setdefault("minimum", min(-MAX_NUMBER, node.get("maximum", 0)))
        if "exclusiveMaximum" not in node:
            node.setdefault("maximum", max(MAX_NUMBER, node.get("minimum", 0)))
    if "number" in kinds:
        node.setdefault("multipleOf", PRECISION)
    if "array" in kinds:
        node.setdefault("maxItems", max(MAX_ITEMS, node.get("minItems", 0)))
    if "object" in kinds and "properties" in node:
        node.setdefault("additionalProperties", False)
