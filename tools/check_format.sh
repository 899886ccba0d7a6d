#!/usr/bin/env bash
# Fails, and names the files, if a source is not formatted as .clang-format says (`make format` mends it).
set -eu
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.cpp' '*.hpp' '*.cu' '*.cuh')
clang-format --dry-run -Werror "${sources[@]}" || { echo "not formatted: run 'make format'" >&2; exit 1; }
echo "formatted: ${#sources[@]} files"
