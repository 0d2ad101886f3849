#!/usr/bin/env bash
# An environment of its own for autogen-core: it pins protobuf 5, which nothing else here should have to live with.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/setup.sh"
tools_ready
python=$(find_python)
[ -x .venv-autogen/bin/python ] || "$python" -m venv .venv-autogen
.venv-tools/bin/uv pip install --quiet --python .venv-autogen/bin/python 'autogen-core==0.7.5'
.venv-autogen/bin/python -c 'import autogen_core; print("autogen-core", autogen_core.__version__)'
