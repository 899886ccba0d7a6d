#!/usr/bin/env bash
# What takes too long for every day: 300 kills at random moments, and write faults at 300 random steps of runs of three ranks. Every
# run is continued and compared with an undisturbed one. Then every configuration of the demo without limit, and configs/paper/everything.yaml on
# the whole of COUNTERFACT, if ../shared/data has it (FACTFLOW_COUNTERFACT names another file).
# usage: tests/system/nightly.sh [BUILD_DIRECTORY [KILLS]]; another FACTFLOW_SEED gives other moments.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
export FACTFLOW_KILLS=${2:-300} FACTFLOW_SEED=${FACTFLOW_SEED:-$(date +%Y%m%d)}
export FACTFLOW_FAULTS=$((FACTFLOW_KILLS / 5))
echo "seed $FACTFLOW_SEED"
"$build/tests/system_kill_test"
"$build/tests/system_write_fault_test" --gtest_filter='*OfThreeRanks*'
FACTFLOW_WHOLE=1 "$build/tests/system_configurations_test"
export FACTFLOW_COUNTERFACT=${FACTFLOW_COUNTERFACT:-$PWD/../shared/data/counterfact.jsonl}
[ ! -f "$FACTFLOW_COUNTERFACT" ] || "$build/tests/system_paper_test" --gtest_filter='*WholeDataset*'
