#!/usr/bin/env bash
# pytest 9.2.0: the value of a plugin's option is taken for a place to test, if it is a word of its own and names a file
# that is there; pytest then looks for its settings from that place, and ignores those of the project in silence.
#
# `pytest -p teller --tell=/elsewhere/told` runs with the project's pyproject.toml. `pytest -p teller --tell /elsewhere/told`
# is the same to the plugin, and runs without any settings: no addopts, no markers, no filterwarnings, no timeout. Both are
# green. A file that is made before the run (to be written into, say) is enough. The settings are found before the options
# of plugins are known, also of one named with -p.
#
# Seen on 2026-11-30 with CPython 3.11.7:
#   --tell=FILE   rootdir: …/project   configfile: pyproject.toml
#   --tell FILE   rootdir: …           (no configfile)
#
# Installs pytest==9.2.0 from PyPI. Exits with 0 while the behaviour is as described, with 1 when it has changed.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0

mkdir "$folder/project" "$folder/elsewhere"
touch "$folder/elsewhere/told"
cd "$folder/project"
printf '[tool.pytest.ini_options]\naddopts = ["--strict-markers"]\n' >pyproject.toml
printf 'def pytest_addoption(parser):\n    parser.addoption("--tell", metavar="FILE")\n' >teller.py
printf 'def test_one():\n    pass\n' >test_one.py

one_word=$("$folder/venv/bin/python" -m pytest -p teller "--tell=$folder/elsewhere/told")
two_words=$("$folder/venv/bin/python" -m pytest -p teller --tell "$folder/elsewhere/told")
for output in "$one_word" "$two_words"; do
    printf '%s\n' "$output" | grep -E '^(rootdir|configfile)|passed'
done

if grep -q '^configfile: pyproject.toml' <<<"$one_word" && ! grep -q '^configfile' <<<"$two_words"; then
    echo "as described"
else
    echo "CHANGED: the settings no longer depend on how the value is written"
    exit 1
fi
