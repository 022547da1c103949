#!/usr/bin/env bash
# The gateway in front of two vLLM engines on the processor: answers equal the engine's own, and what is thought to be
# cached is what the engines say was. On demand: needs the engines' installation (`up.sh install` of the tools for vLLM on
# the processor), about 7 GB of memory and a few minutes.
#
#   UP=…/vllm-cpu/up.sh VLLM_HOME=… runtime/tests/vllm/run.sh [REQUESTS]
#
# Prints what was found; ends with an error if less than 95 % of the requests had as much cached as was thought, or an
# answer differs. Everything it starts ends with it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
up=${UP:?the script that starts vLLM on the processor}
export VLLM_HOME=${VLLM_HOME:?where it is installed}
requests=${1:-500}
conductord=${CONDUCTORD:-$here/../../../target/debug/conductord}
work=$(mktemp -d)
ended() {
  for pid in $(cat "$work"/*.pid 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap ended EXIT

for engine in 0 1; do
  port=$((18201 + engine)) events=$((18311 + engine)) replay=$((18321 + engine))
  setsid bash "$up" serve "$port" "$events" "$replay" --enable-prompt-tokens-details >"$work/engine-$engine.log" 2>&1 &
  echo $! >"$work/engine-$engine.pid"
done
cp "$here/../../profiles/cpu-tiny.toml" "$work/"
cat >"$work/cluster.toml" <<END
name = "vllm"
profile = "cpu-tiny"
block_tokens = 32
[[nodes]]
count = 2
role = "coupled"
[coupled]
schedule = "chunked"
prefix_caching = true
END
cat >"$work/gateway.toml" <<END
listen = "127.0.0.1:18200"
cluster = "$work/cluster.toml"
policy = "kvcache-centric"
text = "${MODEL:-$VLLM_HOME/tiny-llama}"
[journal]
path = "$work/journal.jsonl"
[gateway]
model = "tiny"
log_requests = false
[[engine]]
url = "http://127.0.0.1:18201"
model = "tiny"
kv_events = "tcp://127.0.0.1:18311"
kv_replay = "tcp://127.0.0.1:18321"
[[engine]]
url = "http://127.0.0.1:18202"
model = "tiny"
kv_events = "tcp://127.0.0.1:18312"
kv_replay = "tcp://127.0.0.1:18322"
END
"$conductord" check --config "$work/gateway.toml" | tail -n 1
"$conductord" gateway --config "$work/gateway.toml" >"$work/gateway.out" 2>"$work/gateway.log" &
echo $! >"$work/gateway.pid"
for _ in $(seq 600); do
  [ "$(grep -c "is up" "$work/gateway.log" || true)" -ge 2 ] && break
  sleep 1
done
cat "$work/gateway.log"
python3 "$here/compare.py" http://127.0.0.1:18200 http://127.0.0.1:18201 http://127.0.0.1:18202 "$requests"
# Engines that go say what was found of them.
for engine in 0 1; do kill "$(cat "$work/engine-$engine.pid")"; done
for _ in $(seq 60); do
  [ "$(grep -c "is gone" "$work/gateway.log" || true)" -ge 2 ] && break
  sleep 1
done
grep "is gone" "$work/gateway.log"
awk '/is gone/ { for (i = 1; i <= NF; i++) if ($i == "compared") { compared += $(i - 1); agreed += $(i + 1) } }
  END { printf "as much cached as was thought: %d of %d requests (%.1f %%)\n", agreed, compared, 100 * agreed / compared
        exit !(compared > 0 && agreed >= 0.95 * compared) }' "$work/gateway.log"
kill "$(cat "$work/gateway.pid")"
wait "$(cat "$work/gateway.pid")" || true
"${CONDUCTOR:-$here/../../../target/debug/conductor}" audit "$work/journal.jsonl" 2>/dev/null || echo "the journal was not audited (no conductor built)"
