#!/usr/bin/env bash
# What only hardware can show, on a machine with GPUs and RDMA cards: one line a check, then `N passed, M failed`.
#
#   tests/hardware.sh [PEER]      PEER: a host that ssh reaches without asking and that has perftest, for RDMA between two
#
# Needs the NVIDIA driver, NVRTC and cuBLAS on the loader's path, rdma-core and perftest. It closes the table of
# runtime/engine/README.md. What is missing is a failure, never left out.
set -uo pipefail
cd "$(dirname "$0")/.."
peer=${1:-}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pass() { passed=$((passed + 1)); printf 'pass  %s\n' "$*"; }
fail() { failed=$((failed + 1)); printf 'FAIL  %s\n' "$*"; }

# Runs a check: its name, what is said when it fails, the command. What it printed is in $work/out.
check() {
  local name=$1 why=$2
  shift 2
  if "$@" > "$work/out" 2>&1; then pass "$name"; return; fi
  local last
  last=$(tail -n 1 "$work/out" | cut -c1-160)
  fail "$name: $why${last:+ ($last)}"
}

build() {
  cargo build --release --locked -p conductor-runtime -p conductor-engine --features conductor-runtime/cuda \
    --bin conductord --example bandwidth > "$work/out" 2>&1
}
if build; then pass "build with the feature cuda"; else fail "build: $(tail -n 1 "$work/out")"; fi
bin=${CARGO_TARGET_DIR:-target}/release

# What is there.
"$bin/conductord" check > "$work/found" 2>&1
check "GPU: driver and a device" "conductord check finds none" grep '^CUDA device 0' "$work/found"
check "GPU: NVRTC" "the kernels cannot be compiled" grep '^NVRTC: [0-9]' "$work/found"
check "GPU: cuBLAS" "products = \"cublas\" cannot be used" grep '^cuBLAS: found' "$work/found"
check "GPU: memory is exported as dma-buf" "no device says so: open kernel modules, Linux 5.12 or later?" \
  grep 'dma-buf: yes' "$work/found"
nics=$(ls /sys/class/infiniband 2>/dev/null | head -n 1)
if [ -n "$nics" ]; then pass "NIC: an RDMA device ($nics)"; else fail "NIC: no RDMA device in /sys/class/infiniband"; fi

# The engine's own tests, on the device instead of the stand-in: kernels to the bit, the engine under any schedule, copies.
# Tests of the stand-in's errors are not for a device, and the bound of cuBLAS's rounding is the stand-in's.
for test in kernels:: engine::tokens_equal engine::the_pool engine::greedy; do
  check "GPU: tests $test" "cargo test -p conductor-engine --features cuda --test cuda $test" \
    cargo test --release --locked -p conductor-engine --features cuda --test cuda "$test" -- --test-threads 1
done

# Bandwidth and latency of the device's copies.
if "$bin/examples/bandwidth" > "$work/bandwidth" 2>&1; then
  pass "GPU: copies and gathers"
  sed 's/^/        /' "$work/bandwidth"
else
  fail "GPU: copies and gathers: $(tail -n 1 "$work/bandwidth")"
fi

# What the network carries, beside it: one-sided writes of 512 KiB, and of 8 bytes for the latency.
perftest() { # name, tool, options
  local name=$1 tool=$2
  shift 2
  if ! command -v "$tool" > /dev/null; then fail "$name: no $tool (Debian: perftest)"; return; fi
  if [ -z "$nics" ]; then fail "$name: no RDMA device"; return; fi
  local host=localhost server
  if [ -n "$peer" ]; then
    host=$peer
    ssh "$peer" "timeout 60 $tool $*" > /dev/null 2>&1 &
  else
    timeout 60 "$tool" -d "$nics" "$@" > /dev/null 2>&1 &
  fi
  server=$!
  sleep 2
  if timeout 60 "$tool" -d "$nics" "$@" "$host" > "$work/perftest" 2>&1; then
    pass "$name"
    grep -E '^ +[0-9]+ ' "$work/perftest" | sed 's/^/        /'
  else
    fail "$name: $(tail -n 1 "$work/perftest" | cut -c1-160)"
  fi
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
}
perftest "NIC: ib_write_bw from host memory (Gbit/s)" ib_write_bw -s 524288 -n 2000 --report_gbits
perftest "NIC: ib_write_lat from host memory (us)" ib_write_lat -s 8 -n 2000
perftest "NIC: ib_write_bw from GPU memory by dma-buf" ib_write_bw -s 524288 -n 2000 --report_gbits --use_cuda=0 --use_cuda_dmabuf
if [ -d /sys/module/nvidia_peermem ]; then
  perftest "NIC: ib_write_bw from GPU memory by nvidia_peermem" ib_write_bw -s 524288 -n 2000 --report_gbits --use_cuda=0
else
  fail "NIC: nvidia_peermem is not loaded (modprobe nvidia_peermem); needed only where dma-buf is not"
fi

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
