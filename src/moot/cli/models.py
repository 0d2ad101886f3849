"""``moot models``: list, pull, find and verify the models that the local engine runs.

Only typer is imported up front, so that ``--help`` stays quick; the engine
and rich are loaded by the command that needs them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from moot.cli.group import Group

if TYPE_CHECKING:
    from moot.engine.models.catalogue import Model

__all__ = ["app", "pull_with_progress"]

app = typer.Typer(cls=Group, help="List, pull and check local models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="default, small or tiny.")]


@app.command("list")
def list_models() -> None:
    """Show the models known by name, their size, licence and origin, and what is in the cache."""
    from rich.console import Console
    from rich.table import Table

    from moot.engine.models.cache import cache_dir, model_state
    from moot.engine.models.catalogue import CATALOGUE

    with _plain_errors():
        table = Table("name", "model", "size", "licence", "state", box=None, pad_edge=False)
        for model in CATALOGUE:
            table.add_row(model.name, model.title, f"{model.size / 1e6:,.0f} MB", model.licence, model_state(model))
        console = Console()
        console.print(table)
        for model in CATALOGUE:
            console.print(f"{model.name}: {model.origin}", style="dim", highlight=False)
        console.print(f"cache: {cache_dir()}", style="dim", highlight=False, soft_wrap=True)


@app.command()
def pull(name: Name = "default") -> None:
    """Download a model into the cache, or go on with a download that was interrupted."""
    with _plain_errors():
        typer.echo(pull_with_progress(_find(name)))


@app.command()
def path(name: Name = "default") -> None:
    """Print where a model lies; exit 2 if it is not here."""
    from moot.engine.models.cache import model_path

    with _plain_errors():
        typer.echo(model_path(_find(name).name))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="One model; all that are here if left out.")] = None,
) -> None:
    """Hash models in the cache; exit 1 if one is damaged or the named one is missing."""
    from moot.engine.models.cache import ModelState, model_state
    from moot.engine.models.catalogue import CATALOGUE

    failed = False
    with _plain_errors():
        for model in CATALOGUE if name is None else (_find(name),):
            state = model_state(model, thorough=True)
            hint = f"; run 'moot models pull {model.name}'" if state is ModelState.CORRUPT else ""
            typer.echo(f"{model.name}: {state}{hint}")
            failed |= state is ModelState.CORRUPT or (name is not None and state is not ModelState.READY)
    raise typer.Exit(1 if failed else 0)


def pull_with_progress(model: Model) -> Path:
    """Pull ``model``, showing a bar on a terminal and plain lines elsewhere, on stderr."""
    from moot.engine.models.download import pull_model

    with _progress_bar(model) if sys.stderr.isatty() else _progress_lines(model) as progress:
        return pull_model(model, notice=_notice, progress=progress)


@contextlib.contextmanager
def _progress_bar(model: Model) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(model.title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pull", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def _progress_lines(model: Model) -> Iterator[Callable[[int, int], None]]:
    shown = -1

    def progress(done: int, total: int) -> None:
        nonlocal shown
        tenth = done * 10 // total
        if tenth > shown:
            shown = tenth
            _notice(f"{model.title}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    yield progress


def _notice(text: str) -> None:
    typer.echo(text, err=True)


def _find(name: str) -> Model:
    from moot.engine.models.catalogue import CATALOGUE, find_model

    model = find_model(name)
    if model is None:
        _fail(f"unknown model {name!r}; the models are: {', '.join(model.name for model in CATALOGUE)}")
    return model


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    from moot.errors import MootError

    try:
        yield
    except MootError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped; run the command again to go on where it stopped", code=130)


def _fail(text: str, *, code: int = 2) -> NoReturn:
    typer.echo(f"moot: {text}", err=True)
    raise typer.Exit(code)
