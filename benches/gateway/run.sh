#!/usr/bin/env bash
# What a gateway adds, side by side: conductord, vllm-router and smg, one after the other and round after round, each in
# front of something that takes no time, asked by wrk. The routers stand before `null_engine`, an engine behind HTTP; the
# Conductor before a node of its own whose engine sleeps for no time, so its figure holds a node's work, too.
# Needs wrk (Debian) and PyPI; all else it builds. Usage: benches/gateway/run.sh [SECONDS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-5} rounds=${2:-3}
command -v wrk >/dev/null || { echo "benches/gateway/run.sh: wrk is needed (Debian: wrk)" >&2; exit 1; }
cargo build --release --locked --quiet -p conductor-runtime --bin conductord --example null_engine
work=target/gateway-bench
mkdir -p "$work"
if [ ! -x "$work/venv/bin/smg" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet vllm-router==0.1.17 smg==1.13.0
fi

pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait "${pids[@]}" 2>/dev/null || true; }
trap stop EXIT

start() { # a log's name, a command
  local log="$work/$1.log"; shift
  "$@" >"$log" 2>&1 &
  pids+=("$!")
}

answers() { # an address: waits until a completion comes
  for _ in $(seq 300); do
    if curl -fsS -m 2 "$1/v1/completions" -H 'content-type: application/json' \
      -d '{"model":"tiny","prompt":"Hello","max_tokens":1}' >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "benches/gateway/run.sh: $1 does not answer; see $work/*.log" >&2
  exit 1
}

printf 'name = "null"\nprofile = "cpu-tiny"\nblock_tokens = 16\n[[nodes]]\ncount = 1\nrole = "coupled"\ncache_tokens = 262144\nhbm_kv_tokens = 262144\n[coupled]\nschedule = "chunked"\nprefix_caching = true\n' >"$work/cluster.toml"
cp runtime/profiles/cpu-tiny.toml "$work/"
echo "a-secret-for-benches-alone" >"$work/secret"
common="cluster = \"$work/cluster.toml\"\nsecret_file = \"$work/secret\"\n"
printf "node = 0\nlisten = \"127.0.0.1:9101\"\ntransfer = \"tcp://127.0.0.1:9102\"\n$common[engine]\nkind = \"sleep\"\nspeed = 1e6\n" >"$work/node.toml"
printf "listen = \"127.0.0.1:9100\"\n$common[nodes]\nlist = [\"127.0.0.1:9101\"]\n[gateway]\nlog_requests = false\n" >"$work/gateway.toml"

start null target/release/examples/null_engine 127.0.0.1:9000
start node target/release/conductord node --config "$work/node.toml"
start gateway target/release/conductord gateway --config "$work/gateway.toml"
start vllm-router "$work/venv/bin/vllm-router" --host 127.0.0.1 --port 9200 --worker-urls http://127.0.0.1:9000 \
  --policy cache_aware --log-level error --prometheus-port 9201 --max-payload-size 16777216
start smg "$work/venv/bin/smg" launch --host 127.0.0.1 --port 9300 --worker-urls http://127.0.0.1:9000 \
  --policy cache_aware --log-level error --prometheus-port 9301
names=(engine-alone conductor vllm-router smg)
declare -A at=([engine-alone]=9000 [conductor]=9100 [vllm-router]=9200 [smg]=9300)
for name in "${names[@]}"; do answers "http://127.0.0.1:${at[$name]}"; done

# name, connections, tokens, how, characters of the prompt
loads=("one-at-a-time 1 1 whole 64" "32-at-a-time 32 1 whole 64" "32-long-prompts 32 1 whole 4000" "stream-of-64 8 64 stream 64")
for round in $(seq "$rounds"); do
  for load in "${loads[@]}"; do
    read -r what connections tokens how length <<<"$load"
    for name in "${names[@]}"; do
      line=$(wrk -t1 -c"$connections" -d"${seconds}s" --timeout 10s -s benches/gateway/post.lua "http://127.0.0.1:${at[$name]}" -- /v1/completions "$tokens" "$how" "$length" | grep '^p50')
      printf '%s %s %s %s\n' "$round" "$what" "$name" "$line"
    done
  done
done | tee "$work/rows.txt"

echo
echo "| load | | p50, us | p99, us | requests/s |"
echo "|---|---|---|---|---|"
python3 - "$work/rows.txt" <<'PY'
import collections, statistics, sys
rows = collections.OrderedDict()
for line in open(sys.argv[1]):
    _, load, name, _, p50, _, p99, _, rate, _, failed = line.split()
    assert failed == "0", line
    rows.setdefault((load, name), []).append((int(p50), int(p99), int(rate)))
for (load, name), found in rows.items():
    p50, p99, rate = (statistics.median(column) for column in zip(*found))
    print(f"| {load} | {name} | {p50:.0f} | {p99:.0f} | {rate:.0f} |")
PY
