#!/usr/bin/env bash
# Installs the Debian packages that factflow needs and that are missing; says nothing if none is. docs/dependencies.md
# says what each is for. Machines without apt-get are left alone: CMake names what it cannot find.
set -eu
packages="g++ cmake ninja-build pkg-config ccache
  libtorch-dev libopenblas0-pthread libopenmpi-dev openmpi-bin libhdf5-dev libyaml-cpp-dev libboost-program-options-dev
  libboost-math-dev nlohmann-json3-dev libfmt-dev libcereal-dev libpcre2-dev libutf8proc-dev libxxhash-dev zlib1g-dev
  libgtest-dev libgmock-dev gnuplot-nox python3-h5py"
command -v apt-get > /dev/null || exit 0
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo > /dev/null || { echo "needs root or sudo to install:$missing" >&2; exit 1; }
  sudo=sudo
fi
echo "installing:$missing"
log=$(mktemp)
{ $sudo apt-get update && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y --no-install-recommends $missing; } > "$log" 2>&1 ||
  { tail -20 "$log" >&2; exit 1; }
rm -f "$log"
