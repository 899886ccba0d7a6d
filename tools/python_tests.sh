#!/usr/bin/env bash
# Type checker and tests of the Python package, in the environment of tools/python_environment.sh: of the package with its engine where
# tools/python_engine.sh has installed one there, else of the sources, which read runs.
# usage: tools/python_tests.sh [ENVIRONMENT [PROGRAM]]; exit 77: there is no environment.
set -u
cd "$(dirname "$0")/.."
environment=${1:-build/referees} program=${2:-build/factflow}
[ -e "$environment/bin/python" ] || { echo "skipped: there is no Python environment"; exit 77; }
"$environment/bin/python" -m mypy --no-error-summary
types=$?
path=python
installed=$(echo "$environment"/lib/python3*/site-packages/factflow)
if compgen -G "$installed/_engine*" > /dev/null; then
  path=
  if ! diff -r -q -x '_engine*' -x _build.py -x __pycache__ python/factflow "$installed"; then
    echo "the installed package is another one than python/factflow: run tools/python_engine.sh" >&2
    types=1
  fi
fi
"$environment/bin/python" -P -m pytest -o "pythonpath=$path" "--factflow=$program" tests/python | tee /dev/stderr | tail -1 > "$environment/.tests"
tests=${PIPESTATUS[0]}
count() { grep -oE "[0-9]+ $1" "$environment/.tests" | cut -d' ' -f1; }
passed=$(count passed) failed=$(count failed) errors=$(count error) skipped=$(count skipped)
[ "$types" -eq 0 ] && passed=$((${passed:-0} + 1)) || failed=$((${failed:-0} + 1))
echo "tests: ${passed:-0} passed, $((${failed:-0} + ${errors:-0})) failed, ${skipped:-0} skipped"
[ "$types" -eq 0 ] && [ "$tests" -eq 0 ]
