"""Wires that can be forgotten: callbacks with a default that does nothing, until somebody above sets them.

Such a callback is an arrow that points up, and no import shows it. If nobody sets it, nothing fails and something is
lost. A function does nothing if all that it does is to return None, a constant or one of its arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

from tests.repository.import_graph import modules

__all__ = ["silent_callbacks"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CONSTRUCTORS = {"__init__", "__post_init__"}


def silent_callbacks(source: Path) -> set[str]:
    """The callbacks below ``source`` whose default does nothing.

    Looked at are what a class body and a constructor set (``module.Class.name``), and the parameters of a constructor
    (``module.Class(name)``). The default is a lambda or the name of a function, of this module or another.
    """
    trees = {name: ast.parse(path.read_text()) for name, path in modules(source).items()}
    silent = {f"{name}.{function}" for name, tree in trees.items() for function in _silent_functions(tree)}
    found: set[str] = set()
    for name, tree in trees.items():
        known = {local for local, full in _functions_known_to(name, tree) if full in silent}
        for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            here = known | {f"self.{method}" for method in _silent_functions(cls)}
            found |= {f"{name}.{cls.name}{what}" for what, default in _defaults(cls) if _is_silent(default, here)}
    return found


def _silent_functions(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    """The functions of a module or class that do nothing."""
    for node in scope.body:
        if isinstance(node, _FUNCTIONS):
            arguments = _arguments(node.args)
            if all(_says_nothing(statement, arguments) for statement in node.body):
                yield node.name


def _functions_known_to(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a module calls functions, and their full names."""
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            yield node.name, f"{module}.{node.name}"
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _defaults(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """What a class body and its constructors set, and to what."""
    for statement in cls.body:
        if isinstance(statement, _FUNCTIONS) and statement.name in _CONSTRUCTORS:
            yield from ((f"({name})", default) for name, default in _parameters(statement.args))
            for node in ast.walk(statement):
                yield from ((name[4:], value) for name, value in _assigned(node) if name.startswith("self."))
        else:
            yield from ((f".{name}", value) for name, value in _assigned(statement))


def _parameters(args: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """The parameters that have a default."""
    positional = [*args.posonlyargs, *args.args]
    given = [*zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True)]
    for parameter, default in (*given, *zip(args.kwonlyargs, args.kw_defaults, strict=True)):
        if default is not None:
            yield parameter.arg, default


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a statement assigns, one by one."""
    match node:
        case ast.Assign(targets=[ast.Tuple(targets)], value=ast.Tuple(values)):
            yield from ((ast.unparse(target), value) for target, value in zip(targets, values, strict=False))
        case ast.Assign(targets, value):
            yield from ((ast.unparse(target), value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield ast.unparse(target), value


def _is_silent(default: ast.expr, known: AbstractSet[str]) -> bool:
    """Whether a default does nothing, in one of its cases; ``known`` are functions that do nothing."""
    match default:
        case ast.Lambda(args, body):
            return _is_nothing(body, _arguments(args))
        case ast.BoolOp(values=cases):
            return any(_is_silent(case, known) for case in cases)
        case ast.IfExp(body=first, orelse=second):
            return _is_silent(first, known) or _is_silent(second, known)
        case ast.Call(keywords=keywords):  # field(default=)
            return any(keyword.arg == "default" and _is_silent(keyword.value, known) for keyword in keywords)
    return ast.unparse(default) in known


def _says_nothing(statement: ast.stmt, arguments: AbstractSet[str]) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
        case ast.Return(value):
            return value is None or _is_nothing(value, arguments)
    return False


def _is_nothing(value: ast.expr, arguments: AbstractSet[str]) -> bool:
    """Whether a value is a constant (of several parts, too), or an argument as it came."""
    if isinstance(value, ast.Name):
        return value.id in arguments
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


def _arguments(args: ast.arguments) -> set[str]:
    return {node.arg for node in ast.walk(args) if isinstance(node, ast.arg)}
