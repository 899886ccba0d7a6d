#!/usr/bin/env bash
# Installs what factflow needs and what is missing: Debian packages, and the report's charting library from the npm
# registry. Says nothing if nothing is missing. docs/dependencies.md says what each is for. Machines without apt-get are
# left alone: CMake names what it cannot find.
# usage: tools/install.sh [build] [--list]; build: without what only the tests need; --list: only say which packages
set -eu
cd "$(dirname "$0")/.."
packages="g++ cmake ninja-build pkg-config ccache make git dpkg-dev file
  libtorch-dev libopenblas0-openmp libopenmpi-dev openmpi-bin libhdf5-dev libyaml-cpp-dev libboost-program-options-dev
  libboost-math-dev libboost-context-dev nlohmann-json3-dev libfmt-dev libcereal-dev libpcre2-dev libutf8proc-dev libxxhash-dev zlib1g-dev
  libgtest-dev libgmock-dev gnuplot-nox fontconfig fonts-liberation fonts-noto-core fonts-wqy-microhei fonts-noto-color-emoji"
case " $* " in *" build "*) ;; *) packages="$packages clang-format slurmctld slurmd slurm-client munge debootstrap
  python3-venv python3-h5py python3-scipy python3-xarray python3-h5netcdf python3-matplotlib chromium poppler-utils groff-base" ;;
esac
# Node.js brings npm except in Debian's own packages.
command -v npm > /dev/null || packages="$packages npm"
case " $* " in *" --list "*) echo $packages; exit ;; esac

install_packages() {
  command -v apt-get > /dev/null || return 0
  local missing="" sudo="" log
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || { echo "needs root or sudo to install:$missing" >&2; exit 1; }
    sudo=sudo
  fi
  echo "installing:$missing"
  log=$(mktemp)
  { $sudo apt-get update && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y --no-install-recommends $missing; } > "$log" 2>&1 ||
    { tail -20 "$log" >&2; exit 1; }
  rm -f "$log"
}

# The versions of package-lock.json, whose check sums npm compares; nothing that a package brings is run.
install_modules() {
  local installed=analysis/web/node_modules/.installed log
  cmp -s analysis/web/package-lock.json "$installed" && return 0
  command -v npm > /dev/null || { echo "npm is missing: the report's charting library cannot be fetched" >&2; exit 1; }
  echo "installing: npm packages of analysis/web"
  log=$(mktemp)
  npm ci --prefix analysis/web --ignore-scripts --no-audit --no-fund > "$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
  cp analysis/web/package-lock.json "$installed"
  rm -f "$log"
}

install_packages
install_modules
