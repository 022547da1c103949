#!/usr/bin/env bash
# The kernels as machine code, without a GPU: NVRTC compiles, ptxas assembles for sm_80, sm_90 and sm_100.
#
# On demand, not part of CI: it gets 130 MB from PyPI. Registers and spills are printed; a spill, or a kernel that is
# missing for an architecture, is a failure. `compile.sh > compile.log` is how the log beside this file was made.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/cuda-tools
nvrtc=12.9.86 ptxas=12.9.86
if [ ! -x "$venv/bin/python" ]; then python3 -m venv "$venv"; fi
"$venv/bin/pip" install -q --disable-pip-version-check \
  "nvidia-cuda-nvrtc-cu12==$nvrtc" "nvidia-cuda-nvcc-cu12==$ptxas" >&2
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
out=target/cuda-kernels
rm -rf "$out"

cargo build --quiet --locked -p conductor-engine --features cuda --example kernels
echo "# $(date -u +%Y-%m-%d), NVRTC $nvrtc, ptxas $ptxas (PyPI: nvidia-cuda-nvrtc-cu12, nvidia-cuda-nvcc-cu12)"
echo
echo "Compiled by NVRTC as at the engine's start:"
LD_LIBRARY_PATH=$packages/cuda_nvrtc/lib "${CARGO_TARGET_DIR:-target}/debug/examples/kernels" "$out" 80 90 100 | sed 's/^/  /'
kernels=$(grep -h '__global__ void' runtime/engine/src/cuda/kernels/*.cu | grep -cv '^//')
failed=0
for architecture in 80 90 100; do
  echo
  echo "ptxas -arch=sm_$architecture, $kernels kernels:"
  "$packages/cuda_nvcc/bin/ptxas" -v -arch=sm_$architecture "$out/sm_$architecture.ptx" -o "$out/sm_$architecture.ptxas.cubin" \
    2> "$out/sm_$architecture.txt"
  found=$(awk '
    /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
    /bytes stack frame/ { spills = $5 + $9 }
    /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); print name, substr($0, RSTART + 5, RLENGTH - 5), spills }
  ' "$out/sm_$architecture.txt" | sort)
  echo "$found" | awk '{ printf "  %-16s %3d registers, %d bytes spilled\n", $1, $2, $3 }'
  if [ "$(echo "$found" | wc -l)" != "$kernels" ]; then echo "  expected $kernels kernels"; failed=1; fi
  if echo "$found" | grep -qv ' 0$'; then echo "  a kernel spills"; failed=1; fi
  # No fused multiply-add in floats: the arithmetic that the engine promises.
  if grep -Eq '\bfma\.[a-z.]*f(32|64)' "$out/sm_$architecture.ptx"; then
    grep -En '\bfma\.[a-z.]*f(32|64)' "$out/sm_$architecture.ptx" | head -3
    echo "  a fused multiply-add"
    failed=1
  fi
done
exit $failed
