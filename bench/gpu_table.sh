#!/usr/bin/env bash
# The table of bench/RESULTS.md on the GPU of this machine: bench/gpu_table.sh [BUILD [RATES.csv]], after
# cmake --preset cuda && cmake --build --preset cuda --target sweep_bench. About five minutes on an H200.
# RATES.csv gets the lines from which `factflow plan --rates` estimates times (pipeline/run/measured_rates.hpp).
# Exit code 1 if any answer was wrong.
set -u
bench=${1:-build/cuda}/bench/sweep_bench
rates=${2:+--rates $2}
failed=0
header=
row() { # shape prompts repeats precision..
  local shape=$1 prompts=$2 repeats=$3
  shift 3
  "$bench" --device cuda --shapes "$shape" --prompts "$prompts" --repeats "$repeats" --precision "$@" $header $rates || failed=1
  header=--no-header
}
# What takes seconds is measured once, and all others three times.
row mamba-2.8B 672 1 fp32 tf32x3
row mamba-2.8B 672 3 tf32 bf16
row falcon-mamba-7b 128 1 fp32 tf32x3
row falcon-mamba-7b 128 3 tf32 bf16
row mamba2-2.7B 256 1 fp32 tf32x3
row mamba2-2.7B 256 3 tf32 bf16
for of in "gpt2-2M 8192" "mamba-2M 8192" "mamba2-2M 8192" "gpt2-1.5B 256" "llama-3.2-1B 256" "qwen3-0.6B 512" "gemma-2-2b 256" "olmo-2-1b 256" "mamba-130M 2048" "gpt2-124M 2048" "gpt2-355M 512" "mamba2-130M 2048"; do
  # shellcheck disable=SC2086
  row $of 3 fp32 tf32x3 tf32 bf16
done
exit $failed
