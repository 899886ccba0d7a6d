#!/usr/bin/env bash
# Makes the Python environment of the referees and of the Python package's tests (tests/referee/requirements.txt,
# tests/python/requirements.txt) in a directory, once; says nothing if it is there.
# usage: tools/python_environment.sh [DIRECTORY], by default build/referees
# Exit 0: DIRECTORY/bin/python has all of it; 77: pip reaches no registry; 1: anything else that went wrong.
set -eu
directory=$(realpath -m "${1:-$(dirname "$0")/../build/referees}")
cd "$(dirname "$0")/.."
requirements="tests/referee/requirements.txt tests/python/requirements.txt"
cat $requirements | cmp -s - "$directory/.installed" && exit 0
tools/install.sh

# The system's interpreter first, as in tests/: the one whose venv module tools/install.sh brings.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
echo "installing: Python packages of $requirements in $directory"
rm -rf "$directory"
"$python" -m venv "$directory"
log=$directory/pip.log
if ! "$directory/bin/pip" install --no-input ${requirements//tests/-r tests} > "$log" 2>&1; then
  tail -20 "$log" >&2
  # Is there any registry at all? One small package tells a missing network from a package that is missing.
  "$directory/bin/pip" download --no-input --no-deps -q -d "$directory" packaging > /dev/null 2>&1 && exit 1
  echo "no Python environment: pip reaches no registry" >&2
  exit 77
fi
"$directory/bin/python" -c 'import gguf, h5py, matplotlib, mypy, pandas, pytest, safetensors, tokenizers, torch, transformers, xarray'
cat $requirements > "$directory/.installed"
