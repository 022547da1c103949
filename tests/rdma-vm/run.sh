#!/usr/bin/env bash
# Verbs on a real kernel: builds the messenger's tests with the feature `rdma`, boots a machine with Soft-RoCE devices, and
# runs them there. One line a case, then `N passed, M failed`; exit code 1 if any failed, or if anything is missing.
#
#     tests/rdma-vm/run.sh [CASE...]
#
# CONDUCTOR_SKIP_RDMA_VM=1 leaves it out, with a line that says so: nothing else does.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

if [ "${CONDUCTOR_SKIP_RDMA_VM:-}" = 1 ]; then
  echo "rdma-vm: left out, because CONDUCTOR_SKIP_RDMA_VM=1"
  exit 0
fi

# Programs of this script, and what the build of the verbs bindings needs.
missing=""
need() { command -v "$1" >/dev/null || [ -e "$1" ] || missing="$missing $2"; }
need qemu-system-x86_64 qemu-system-x86
need modinfo kmod
need cpio cpio
need xz xz-utils
need cmake cmake
ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/x86_64-linux-gnu/libclang*.so* >/dev/null 2>&1 ||
  missing="$missing libclang-dev"
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  else
    echo "rdma-vm: these packages are missing:$missing (CONDUCTOR_SKIP_RDMA_VM=1 leaves these tests out)" >&2
    exit 1
  fi
fi

target=${CARGO_TARGET_DIR:-$root/target}
base=$target/rdma-vm
apt-cache show linux-image-amd64 >/dev/null 2>&1 || apt-get update -qq
"$here/build-base.sh" "$base"

# Builds a test of a package and says where it is.
build() { # PACKAGE WHAT...
  local package=$1 said path
  shift
  said=$(cargo test --locked --no-run -p "$package" --features rdma "$@" 2>&1) || {
    echo "$said" >&2
    exit 1
  }
  path=$(sed -n 's/^ *Executable .* (\(.*\))$/\1/p' <<<"$said" | head -1)
  case $path in /*) echo "$path" ;; *) echo "$root/$path" ;; esac
}
started=$(date +%s)
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
units=$(build conductor-messenger --lib)
messenger=$(build conductor-messenger --test all)
processes=$(build conductor-runtime --test processes)
for name in messenger processes; do strip -o "$payload/$name" "${!name}"; done
strip -o "$payload/conductord" "$target/debug/conductord"
echo "rdma-vm: payload built in $(($(date +%s) - started)) s"

# What needs no device, with the code that is only there with the feature.
"$units" -q verbs:: >/dev/null || { "$units" verbs::; exit 1; }
echo "passed units of verbs on this machine"

cp "$here/cases.sh" "$payload/run.sh"
echo "$*" > "$payload/only"

started=$(date +%s)
code=0
"$here/boot.sh" "$base" "$payload" "${TIMEOUT:-300}" || code=$?
echo "rdma-vm: the machine ran for $(($(date +%s) - started)) s"
exit "$code"
