#!/usr/bin/env bash
# Compiles the engine of the Python package against the torch of an environment and installs both there, as `pip install .` does
# (docs/python.md), without asking a registry. Says the minutes.
# usage: tools/python_engine.sh [ENVIRONMENT], by default build/referees; exit 77: there is no environment.
set -eu
environment=$(realpath -ms "${1:-$(dirname "$0")/../build/referees}")
cd "$(dirname "$0")/.."
[ -e "$environment/bin/python" ] || { echo "skipped: there is no Python environment"; exit 77; }
begin=$SECONDS
"$environment/bin/python" -m pip install --no-input --no-index --no-build-isolation --no-deps --force-reinstall -q .
# Out of the environment, not out of the sources.
(cd / && "$environment/bin/python" -c 'import factflow.native; print("engine", factflow.native.engine().version, "of", factflow.__path__[0])')
awk -v s=$((SECONDS - begin)) 'BEGIN { printf "compiled and installed in %.1f minutes\n", s / 60 }'
