"""Lazy names: a package whose public names are loaded when they are first used (PEP 562).

To load all of a package takes longer than most programs need of it: the command line shows its help without the
runtime, and a system without an engine starts without the engines. Type checkers see plain imports: the package has
them under ``TYPE_CHECKING``, and calls `lazy_names` in the other branch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package; ``places`` has the public names of each of its modules.

    The names stand in one string, with spaces between them, and the modules are named from the package on.
    """
    modules = {name: f"{package}.{module}" for module, names in places.items() for name in names.split()}
    namespace = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = namespace[name] = getattr(import_module(modules[name]), name)  # the second use finds it there
        return value

    def names() -> list[str]:
        return sorted({*namespace, *modules})

    return load, names
