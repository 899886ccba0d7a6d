#!/usr/bin/env bash
# Type checker and tests of the Python package, in the environment of tools/python_environment.sh.
# usage: tools/python_tests.sh [ENVIRONMENT [PROGRAM]]; exit 77: there is no environment.
set -u
cd "$(dirname "$0")/.."
environment=${1:-build/referees} program=${2:-build/factflow}
[ -e "$environment/bin/python" ] || { echo "skipped: there is no Python environment"; exit 77; }
"$environment/bin/python" -m mypy --no-error-summary
types=$?
"$environment/bin/python" -m pytest "--factflow=$program" tests/python | tee /dev/stderr | tail -1 > "$environment/.tests"
tests=${PIPESTATUS[0]}
count() { grep -oE "[0-9]+ $1" "$environment/.tests" | cut -d' ' -f1; }
passed=$(count passed) failed=$(count failed) errors=$(count error) skipped=$(count skipped)
[ "$types" -eq 0 ] && passed=$((${passed:-0} + 1)) || failed=$((${failed:-0} + 1))
echo "tests: ${passed:-0} passed, $((${failed:-0} + ${errors:-0})) failed, ${skipped:-0} skipped"
[ "$types" -eq 0 ] && [ "$tests" -eq 0 ]
