#!/usr/bin/env bash
# Make .venv with everything that requirements.txt lists and this package, or leave it as it is
# when it is up to date. Sourced by quickstart.sh and run_tests.sh; afterwards it is active.
# PYTHON selects the interpreter (default python3; 3.11 is the tested one).
repo=$(cd -- "$(dirname "${BASH_SOURCE[0]}")/.." > /dev/null && pwd)
cd -- "$repo"
if [ ! -f .venv/bin/activate ]; then  # written last: without it the environment is incomplete
    echo "== making .venv with $("${PYTHON:-python3}" --version)"
    "${PYTHON:-python3}" -m venv --clear .venv || {
        echo "cannot make a virtual environment; on Debian/Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi
# shellcheck disable=SC1091
source .venv/bin/activate
unset PYTHON
wanted=$(cat requirements.txt pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "== installing requirements.txt into .venv (several GB, a few minutes)"
    requirements=$(mktemp)
    # a full mmcv that the user put here has the same module name as mmcv-lite: it stays
    if python -c 'import importlib.metadata as m; m.version("mmcv")' 2>/dev/null; then
        grep -v '^mmcv-lite' requirements.txt > "$requirements"
    else
        cp requirements.txt "$requirements"
    fi
    python -m pip install --disable-pip-version-check -r "$requirements"
    python -m pip install --disable-pip-version-check --no-deps --editable .
    rm "$requirements"
    echo "$wanted" > .venv/installed
fi
