#!/usr/bin/env bash
# The engine's CUDA back end on a stand-in of CUDA: no GPU, driver or toolkit is needed, but g++ is.
#
# The stand-in (standin/) is one library under three names. It runs the engine's kernels, compiled from their own source,
# on the processor. `old` is the same without a function that is needed.
set -euo pipefail
cd "$(dirname "$0")/standin"
root=$(cd ../../.. && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/cuda-standin
command -v g++ >/dev/null || { echo "tests/cuda/run.sh: g++ is needed (Debian: g++)" >&2; exit 1; }

# Arithmetic as the kernels are compiled for a device: nothing fused, nothing reordered.
build() {
  mkdir -p "$1"
  g++ -std=c++20 -O2 -g -fPIC -shared -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Wno-unknown-pragmas \
    -Wno-clobbered "${@:2}" driver.cpp fibers.cpp kernels.cpp libraries.cpp -o "$1/libstandin.so"
  for name in libcuda.so libnvrtc.so libcublas.so; do ln -sf libstandin.so "$1/$name"; done
}
build "$out"
build "$out/old" -DWITHOUT_LAUNCH
mkdir -p "$out/none"

cd "$root"
export CONDUCTOR_STANDIN=$out LD_LIBRARY_PATH=$out${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
cargo test --locked -p conductor-engine --features cuda --lib cuda
cargo test --locked -p conductor-engine --features cuda --test cuda -- --nocapture "$@"
