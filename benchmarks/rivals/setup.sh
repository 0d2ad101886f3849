#!/usr/bin/env bash
# Environments of their own for the rivals: their pins are nobody else's business here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/setup.sh"
python=$(find_python)
tools_ready "$python"

rival() { # FOLDER REQUIREMENT...
    local folder=$1
    shift
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    .venv-tools/bin/uv pip install --quiet --python "$folder/bin/python" "$@"
}

rival .venv-autogen 'autogen-core==0.7.5'
rival .venv-durable 'langgraph==1.2.22' 'langgraph-checkpoint-sqlite==3.1.2' 'dbos==3.4.0'
rival .venv-mesa 'mesa[rec]==3.3.1'
