#!/usr/bin/env bash
# Environments of their own for the rivals: their pins are nobody else's business here. And the Rust reference, where
# there are cargo and its crates: Debian's packages of them, or else crates.io.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/setup.sh"
python=$(find_python)
tools_ready "$python" || exit 1

rival() { # FOLDER REQUIREMENT...
    local folder=$1
    shift
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    .venv-tools/bin/uv pip install --quiet --python "$folder/bin/python" "$@"
}

rival .venv-autogen 'autogen-core==0.7.5'
rival .venv-durable 'langgraph==1.2.22' 'langgraph-checkpoint-sqlite==3.1.2' 'dbos==3.4.0'
rival .venv-mesa 'mesa[rec]==3.3.1'

rust_reference=benchmarks/rivals/rust_reference
debian=(
    --offline --config 'source.crates-io.replace-with="debian"'
    --config 'source.debian.directory="/usr/share/cargo/registry"'
)
packages='librust-async-trait-dev librust-dashmap-dev librust-libc-dev librust-serde-json-dev librust-tokio-dev'

build() { # CARGO_ARGUMENT...: prints why it failed
    (cd "$rust_reference" && CARGO_NET_RETRY=0 cargo build --quiet --release "$@" 2>&1)
}

if ! command -v cargo >/dev/null; then
    say "The Rust reference is not built, and its column stays empty: there is no cargo on PATH."
elif ! build "${debian[@]}" >/dev/null && ! why=$(build); then
    say "The Rust reference is not built, and its column stays empty: ${why%%$'\n'*} (apt-get install $packages)"
fi
