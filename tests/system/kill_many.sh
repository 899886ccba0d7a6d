#!/usr/bin/env bash
# The nightly version of the interruption test: 300 processes killed at random moments, every run continued and compared.
# usage: tests/system/kill_many.sh [BUILD_DIRECTORY [KILLS]]; another FACTFLOW_SEED gives other moments.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
export FACTFLOW_KILLS=${2:-300} FACTFLOW_SEED=${FACTFLOW_SEED:-$(date +%Y%m%d)}
echo "$FACTFLOW_KILLS kills, seed $FACTFLOW_SEED"
exec "$build/tests/system_interruption_test" --gtest_filter='*KilledProcesses*'
