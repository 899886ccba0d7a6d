#!/usr/bin/env bash
# Installs a build into folders of its own and uses what is there: by `cmake --install`, and as a Debian package that dpkg installs
# into a root of its own, with this machine's packages as its dependencies, and removes again.
# usage: install_test.sh BUILD PROGRAM; exit 77: the packages' part could not be tried
set -eu
build=$(realpath "$1") program=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "failed: $*" >&2; exit 1; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1

# What an installed factflow must do: prefix, and where its configurations say the demo is.
use() {
  local prefix=$1
  [ -x "$prefix/bin/factflow" ] || fail "no program in $prefix"
  [ "$("$prefix/bin/factflow" --version)" = "$("$program" --version)" ] || fail "$prefix: another version"
  (cd "$work" && "$prefix/bin/factflow" run "$prefix/share/factflow/configs/demo-quick.yaml" --limit 4 --set run.threads_per_rank=1 --fresh -q --out "$work/out") || fail "$prefix: no run"
  [ -s "$work/out/results.h5" ] || fail "$prefix: no results"
  "$prefix/bin/factflow" analyse "$work/out" > "$work/analysed" || fail "$prefix: no analysis"
  [ -s "$work/out/report.html" ] || fail "$prefix: no report"
  grep -q '^\.TH FACTFLOW 1' "$prefix/share/man/man1/factflow.1" || fail "$prefix: no manual page"
  bash -c '. "$0" && complete -p factflow' "$prefix/share/bash-completion/completions/factflow" > /dev/null || fail "$prefix: no completion of bash"
  head -1 "$prefix"/share/zsh/*/_factflow | grep -q '#compdef factflow' || fail "$prefix: no completion of zsh"
  [ -s "$prefix/share/doc/factflow/copyright" ] && [ -s "$prefix/share/doc/factflow/docs/install.md" ] || fail "$prefix: no documents"
}

cmake --install "$build" --prefix "$work/prefix" > "$work/log" || { cat "$work/log"; fail "cmake --install"; }
use "$work/prefix"
echo "passed: cmake --install"

command -v dpkg-shlibdeps > /dev/null && [ -f "$build/CPackConfig.cmake" ] || { echo "skipped: no dpkg-dev, or another libtorch than Debian's"; exit 77; }
(cd "$build" && cpack --config CPackConfig.cmake -B "$work/packages" > "$work/log" 2>&1) || { cat "$work/log"; fail "cpack"; }
package=$(ls "$work"/packages/factflow_*.deb)
depends=$(dpkg-deb --field "$package" Depends)
for library in libtorch libopenmpi libhdf5 libc6 openmpi-bin gnuplot libopenblas0-openmp; do
  grep -q "$library" <<< "$depends" || fail "does not depend on $library: $depends"
done
echo "passed: $(basename "$package"), $(du -h "$package" | cut -f1)"

[ "$(id -u)" -eq 0 ] || { echo "skipped: only root can install a package"; exit 77; }
root=$work/root
mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
# This machine's packages count as installed there; those that are half installed would be finished first.
awk -v RS= -v ORS='\n\n' '/\nStatus: install ok installed\n/ && !/^Package: factflow\n/' /var/lib/dpkg/status > "$root/var/lib/dpkg/status"
(cd "$root/var/lib/dpkg/info" && awk '/^Package: / { name = $2 } /^Architecture: / { arch = $2 } /^Multi-Arch: same/ { name = name ":" arch } /^$/ { print name } ' ../status | sed 's/$/.list/' | xargs touch)
dpkg --root="$root" --install "$package" > "$work/log" 2>&1 || { tail -20 "$work/log"; fail "dpkg --install"; }
use "$root/usr"
dpkg --root="$root" --remove factflow > "$work/log" 2>&1 || { tail -20 "$work/log"; fail "dpkg --remove"; }
left=$(find "$root/usr" ! -type d 2> /dev/null | head -5)
[ -z "$left" ] || fail "left behind: $left"
echo "passed: dpkg installs, and removes all of it"
