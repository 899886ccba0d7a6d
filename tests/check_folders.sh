#!/bin/sh
# No folder reaches up: a file includes only files of its own folder and of those that stand before it in the list of
# CMakeLists.txt. Usage: check_folders.sh ROOT
set -eu
cd "$1"
order=$(sed -n 's/^foreach(folder \(.*\))$/\1/p' CMakeLists.txt)
test -n "$order" || { echo "CMakeLists.txt has no list of folders"; exit 1; }
status=0
below=""
for folder in $order; do
  below="$below $folder"
  allowed=$(echo $below | tr ' ' '|')
  # Names without a folder are headers that stand beside the file, or that the build makes.
  wrong=$(grep -rnE --include='*.cpp' --include='*.hpp' --include='*.cu' --include='*.cuh' --include='*.in' \
    '^[[:space:]]*#include "[^"]*/' "$folder" | grep -vE "#include \"($allowed)/" || true)
  test -z "$wrong" && continue
  echo "$wrong"
  echo "$folder may include: $below"
  status=1
done
exit $status
