# Sourced by the scripts beside it: a virtual environment with the locked dependencies, from Python 3.11 and pip alone.
#
# uv is pinned and lives in .venv-tools, so that nothing has to be installed beforehand. pip's own settings (index,
# certificates) are handed on to uv. HOME may be unset: caches then live in the checkout.

UV_VERSION=0.13.9

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

say() { printf '%s\n' "$*" >&2; }

# Whether $1 is a Python with what Moot needs of its library: a name on PATH may be a shim of nothing.
works() {
    "$1" -c 'import ensurepip, sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))' &>/dev/null
}

# The Python that PYTHON names, where that is set: on PATH, else the newest of pyenv, whose shims work for an active
# version only. Otherwise the newest on PATH.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        for candidate in "$PYTHON" $(ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/"*"/bin/${PYTHON##*/}" 2>/dev/null | sort -rV); do
            if works "$candidate"; then
                command -v "$candidate"
                return 0
            fi
        done
        say "PYTHON=$PYTHON is no Python 3.11 or newer with the venv module that works here; name another, or unset PYTHON."
        return 1
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if works "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    say "Moot needs Python 3.11 or newer with the venv module; none was found on PATH (set PYTHON=/path/to/python3)."
    return 1
}

hand_settings_to_uv() {
    local pip=.venv-tools/bin/pip index
    index=${PIP_INDEX_URL:-$("$pip" config get global.index-url 2>/dev/null || true)}
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$index"; fi
    if [ -n "${PIP_EXTRA_INDEX_URL:-}" ] && [ -z "${UV_INDEX:-}" ]; then export UV_INDEX="$PIP_EXTRA_INDEX_URL"; fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
    if [ -z "${HOME:-}" ] && [ -z "${UV_CACHE_DIR:-}" ]; then export UV_CACHE_DIR="$root/.venv-tools/cache"; fi
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
}

# Whether the environment $1 was made by the Python $2, to its patch level.
is_made_by() {
    local version='import sys; print(sys.version)'
    [ "$("$1/bin/python" -c "$version" 2>/dev/null)" = "$("$2" -c "$version")" ]
}

# tools_ready PYTHON: the pinned uv in .venv-tools, whatever Python that has.
tools_ready() {
    local python=$1 uv
    uv=$(.venv-tools/bin/uv --version 2>/dev/null | cut -d' ' -f2)
    if [ "$uv" != "$UV_VERSION" ] || ! .venv-tools/bin/python -c '' 2>/dev/null; then
        "$python" -m venv --clear .venv-tools || return 1
        .venv-tools/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" || return 1
    fi
    hand_settings_to_uv
}

# set_up EXTRA_OR_GROUP_FLAGS...: creates .venv with what uv.lock says, for the flags given. What else is
# in it stays, so that the demo does not take the gate's tools away. If PYTHON is set, .venv is of that Python:
# one of another is made anew.
set_up() {
    local python
    python=$(find_python) || return 1
    tools_ready "$python" || return 1
    if ! .venv/bin/python -c '' 2>/dev/null || { [ -n "${PYTHON:-}" ] && ! is_made_by .venv "$python"; }; then
        "$python" -m venv --clear .venv || return 1
    fi
    if [ -n "${UV_DEFAULT_INDEX:-}" ]; then
        # The lock file names files on pypi.org; another index serves the same files, held to the same hashes.
        .venv-tools/bin/uv export --quiet --frozen --no-emit-project "$@" --output-file .venv-tools/locked.txt >/dev/null &&
            .venv-tools/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r .venv-tools/locked.txt &&
            .venv-tools/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
    else
        .venv-tools/bin/uv sync --quiet --frozen --inexact --python .venv/bin/python "$@"
    fi
}
