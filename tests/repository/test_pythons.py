"""Which Python runs the gate, and which others do: one that is named first, and none that is a name only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER, LATER = [name for name in ("3.11", "3.12", "3.13") if name != OWN][:2]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a shell needs, no pyenv, and no Python that is asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "dirname", "cut", "ls", "sort"):
        found = next(one for place in os.environ["PATH"].split(os.pathsep) if (one := Path(place) / tool).exists())
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("PYTHON", raising=False)
    return folder


def _python(path: Path, version: str = "", patch: str = "0") -> Path:
    """A Python of this version; a shim of nothing without one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    says = f"echo {version}; echo '{version}.{patch} (fake)'" if version else "exit 127"
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def _shell(words: str) -> tuple[str, str]:
    done = subprocess.run(
        ["bash", "-c", f"source '{SCRIPTS / 'setup.sh'}'; {words}"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.stderr.strip()


def _others() -> list[str]:
    words = "import pythons; print(*[one.path for one in pythons.installed()], *pythons.skipped, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", words], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_shim_of_no_python_is_passed_over(path: Path) -> None:
    _python(path / "python3.13")
    python = _python(path / "python3.12", "3.12")

    assert _shell("find_python") == (str(python), "")


def test_a_python_that_is_named_is_taken_from_the_path_or_pyenv_and_no_other(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _python(path / "python3.13", "3.13")
    older = _python(path / "python3.12", "3.12")
    _python(path / "python3.11")
    versions = tmp_path / "pyenv" / "versions"
    _python(versions / "3.11.9" / "bin" / "python3.11", "3.11", "9")
    behind_the_shim = _python(versions / "3.11.10" / "bin" / "python3.11", "3.11", "10")

    for name, found in (("python3.12", older), ("python3.11", behind_the_shim), (str(older), older)):
        monkeypatch.setenv("PYTHON", name)
        assert _shell("find_python") == (str(found), "")
    monkeypatch.setenv("PYTHON", "python3.14")
    assert _shell("find_python || echo none") == (
        "none",
        (
            "PYTHON=python3.14 is no Python 3.11 or newer with the venv module that works here; "
            "name another, or unset PYTHON."
        ),
    )


def test_without_a_python_the_reason_is_one_line(path: Path) -> None:
    found, said = _shell("find_python || echo none")

    assert found == "none"
    assert said.startswith("Moot needs Python 3.11 or newer")


def test_an_environment_is_known_by_the_python_that_made_it(path: Path) -> None:
    other = _python(path / "python", OTHER)

    assert _shell(f"is_made_by '{sys.prefix}' '{sys.executable}' && echo same")[0] == "same"
    assert _shell(f"is_made_by '{sys.prefix}' '{other}' || echo other")[0] == "other"


def test_the_other_pythons_are_those_that_work_and_the_rest_is_named(path: Path, tmp_path: Path) -> None:
    _python(path / f"python{OTHER}")
    versions = tmp_path / "pyenv" / "versions"
    _python(versions / f"{OTHER}.9" / "bin" / f"python{OTHER}", OTHER, "9")
    newest = _python(versions / f"{OTHER}.10" / "bin" / f"python{OTHER}", OTHER, "10")
    _python(path / f"python{LATER}", OTHER)

    found, *skipped = _others()
    assert found == str(newest)
    assert f"python{LATER} is not installed" in skipped


def test_of_two_that_work_the_one_on_the_path_is_taken(path: Path, tmp_path: Path) -> None:
    first = _python(path / f"python{OTHER}", OTHER)
    _python(tmp_path / "pyenv" / "versions" / f"{OTHER}.1" / "bin" / f"python{OTHER}", OTHER, "1")

    assert _others()[0] == str(first)


def _set_up_rivals(path: Path, tmp_path: Path) -> tuple[str, str]:
    """Run the rivals' setup with a uv that only writes down what it is told; what that was, and what is said."""
    _python(path / "python3", OWN)
    checkout = tmp_path / "checkout"
    (checkout / "benchmarks/rivals/rust_reference").mkdir(parents=True)
    for script in ("scripts/setup.sh", "benchmarks/rivals/setup.sh"):
        (checkout / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPTS.parent / script, checkout / script)
    tools = checkout / ".venv-tools" / "bin"
    version = re.findall(r"^UV_VERSION=(.+)$", (SCRIPTS / "setup.sh").read_text(), re.MULTILINE)[0]
    for tool in ("python", "pip"):
        _python(tools / tool, OWN)
    uv = _python(tools / "uv", OWN)
    uv.write_text(f'#!/bin/sh\necho "uv {version}"; echo "$@" >> "{tmp_path}/told"\n')

    done = subprocess.run(
        ["bash", str(checkout / "benchmarks/rivals/setup.sh")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    return (tmp_path / "told").read_text(), done.stderr


def _cargo(path: Path, words: str) -> None:
    (path / "cargo").write_text(f"#!/bin/sh\n{words}\n")
    (path / "cargo").chmod(0o755)


def test_the_rivals_get_environments_made_with_the_tools_of_the_gate(path: Path, tmp_path: Path) -> None:
    _cargo(path, "exit 0")

    told, said = _set_up_rivals(path, tmp_path)

    assert "pip install --quiet --python .venv-autogen/bin/python autogen-core==" in told
    assert said == ""


def test_in_a_fresh_checkout_the_rivals_get_the_tools_first(path: Path, tmp_path: Path) -> None:
    python = _python(path / "python3", OWN)
    python.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/told"\n')
    checkout = tmp_path / "checkout"
    shutil.copytree(SCRIPTS, checkout / "scripts")
    (checkout / "benchmarks/rivals").mkdir(parents=True)
    script = shutil.copy(SCRIPTS.parent / "benchmarks/rivals/setup.sh", checkout / "benchmarks/rivals")

    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)

    assert (tmp_path / "told").read_text().endswith("-m venv --clear .venv-tools\n")
    assert done.returncode == 1  # that Python makes no environment


@pytest.mark.parametrize(
    ("cargo", "why"),
    [
        (None, "there is no cargo on PATH."),
        ("echo 'error: failed to get `tokio`'; echo more; exit 101", "error: failed to get `tokio` (apt-get install "),
    ],
)
def test_where_the_rust_reference_cannot_be_built_one_line_says_why(
    path: Path, tmp_path: Path, cargo: str | None, why: str
) -> None:
    if cargo is not None:
        _cargo(path, cargo)

    told, said = _set_up_rivals(path, tmp_path)

    assert ".venv-mesa" in told
    assert said.startswith(f"The Rust reference is not built, and its column stays empty: {why}")
    assert said.count("\n") == 1


def test_the_rust_reference_is_built_from_crates_io_where_debian_has_no_crates(path: Path, tmp_path: Path) -> None:
    _cargo(path, f'echo "$@" >> "{tmp_path}/built"; case "$*" in *--offline*) exit 101;; esac')

    _, said = _set_up_rivals(path, tmp_path)

    debian, crates_io = (tmp_path / "built").read_text().splitlines()
    assert '--config source.debian.directory="/usr/share/cargo/registry"' in debian
    assert crates_io == "build --quiet --release"
    assert said == ""
