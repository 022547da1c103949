#!/usr/bin/env bash
# A whole cluster (2 prefill, 2 decode nodes) whose engines are `cuda` on the stand-in, over shared memory and over TCP:
# its greedy answers are those of the same cluster on the CPU. Run after run.sh, which builds the stand-in.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --locked -p conductor-runtime --features cuda --bin conductord
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -INT "$pid" 2>/dev/null; wait; rm -rf "$work"' EXIT
long=$(printf 'A long prompt with many words in it. %.0s' $(seq 30))

# Answers of a cluster with this engine and this way of KV.
answers() {
  LD_LIBRARY_PATH=$target/cuda-standin STANDIN_MEMORY=4000000000 XDG_CACHE_HOME=$work \
    timeout 120 "$target/debug/conductord" local --engine "$1" --transfer "$2" --listen 127.0.0.1:0 --quiet > "$work/log" 2>&1 &
  pid=$!
  local address=
  for _ in $(seq 300); do
    address=$(sed -n 's/^ready //p' "$work/log")
    [ -z "$address" ] || break
    sleep 0.1
  done
  [ -n "$address" ] || { cat "$work/log" >&2; return 1; }
  for prompt in "Hello" "The quick brown fox jumps over the lazy dog." "$long" "$long And more."; do
    curl -sS --fail --max-time 60 "$address/v1/completions" -H 'content-type: application/json' \
      -d "{\"model\": \"tiny\", \"prompt\": \"$prompt\", \"max_tokens\": 24, \"temperature\": 0}" | grep -o '"text":"[^}]*'
  done
  kill -INT "$pid"
  wait "$pid"
  pid=
}

answers cpu shm > "$work/cpu"
passed=0 failed=0
for transfer in shm tcp; do
  if answers cuda "$transfer" > "$work/cuda" && cmp "$work/cpu" "$work/cuda"; then
    echo "cluster over $transfer: 4 answers equal"
    passed=$((passed + 1))
  else
    echo "cluster over $transfer: answers differ"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
