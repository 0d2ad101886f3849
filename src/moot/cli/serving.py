"""Serving: the system that ``MODULE:APP`` names, from its import to its end in order."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moot.cli.app import UsageError
from moot.manager.manager import AgentManager

__all__ = ["load", "serve"]


def serve(target: str, engine: str | None) -> bool:
    """Run the agents of ``target`` until a signal stops them; whether that was Ctrl-C."""
    found = load(target)
    caught: list[signal.Signals] = []
    asyncio.run(until_signalled(found, target, engine, caught))
    return signal.SIGINT in caught


def load(target: str) -> Any:
    """The object that ``MODULE:APP`` names; modules of the current directory come first."""
    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise UsageError(f"{target!r} is not MODULE:APP; for example: moot run my_agents:build")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except TypeError as error:
        if module_name.startswith("."):
            raise UsageError(f"{module_name!r} is a path; name a module, as in: moot run my_agents:build") from error
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {module_name!r} here or on the Python path") from error
        raise UsageError(f"module {module_name!r} needs {error.name!r}, which is not installed") from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        names = ", ".join(n for n, v in vars(module).items() if is_offer(v, module_name)) or "nothing"
        raise UsageError(f"module {module_name!r} has no {name!r}; it offers: {names}") from error


def is_offer(value: object, module_name: str) -> bool:
    """Whether it may be an APP: a manager, or a function that the module itself defines."""
    return isinstance(value, AgentManager) or (inspect.isfunction(value) and value.__module__ == module_name)


async def until_signalled(found: Any, target: str, engine: str | None, caught: list[signal.Signals]) -> None:
    """Make or take the manager, start it, and stop it on the first signal."""
    manager = found if isinstance(found, AgentManager) else await build(found, target, engine)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    async with manager:
        print(f"moot: {target} is running; Ctrl-C stops it", file=sys.stderr)
        await stopping.wait()
        print("moot: stopping", file=sys.stderr)


async def build(found: Any, target: str, engine: str | None) -> AgentManager:
    """Call the function that returns a manager, or that fills the one it is given."""
    if not callable(found):
        raise UsageError(f"{target} is of type {type(found).__name__}, not an AgentManager or a function")
    takes_manager = wants_argument(found)
    if takes_manager and not takes_one(found):
        raise UsageError(f"{target} takes more than a manager; it must take one AgentManager, or nothing and return it")
    manager = new_manager(engine) if takes_manager else None
    result = found(manager) if takes_manager else found()
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AgentManager):
        return result
    if manager is None:
        raise UsageError(f"{target} returned {type(result).__name__}; it must return an AgentManager or take one")
    return manager


def new_manager(engine: str | None) -> AgentManager:
    """A manager with this engine; one that does not exist is the user's to mend."""
    try:
        return AgentManager(engine=engine)
    except ValueError as error:
        raise UsageError(str(error)) from error


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether it can be called with one positional argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def wants_argument(function: Callable[..., Any]) -> bool:
    """Whether it has a parameter without a default."""
    parameters = inspect.signature(function).parameters.values()
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        for p in parameters
    )
