#!/usr/bin/env bash
# Runs every test of a build folder; the last line counts them.
set -u
build=$1
log=$(mktemp)
ctest --test-dir "$build" --output-on-failure --timeout 900 -j "$(nproc)" | tee "$log"
status=${PIPESTATUS[0]}
passed=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed' "$log")
skipped=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*Skipped' "$log")
failed=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*(Failed|Timeout|Exception|Not Run)' "$log")
rm -f "$log"
echo "tests: $passed passed, $failed failed, $skipped skipped"
exit "$status"
