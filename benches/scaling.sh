#!/usr/bin/env bash
# Makes the table of benches/SCALING.md: time, memory and events of replays over nodes and requests.
#
#   benches/scaling.sh [REQUESTS_MAX]      a million by default
#
# The load of each node is the same everywhere: that of `kimi-day`, 92.6 requests a second on a thousand nodes.
set -euo pipefail
cd "$(dirname "$0")/.."
most=${1:-1000000}
cargo build --release --quiet
conductor=target/release/conductor

# A number of the JSON's first level.
number() {
    sed -nE "s/^ *\"$1\": *([0-9.e+-]+),?\$/\1/p" <<< "$2" | head -n 1
}

echo '| nodes | requests | CPU s | us a request | events | events a request | us an event | peak MB |'
echo '|---|---|---|---|---|---|---|---|'
for half in 8 32 128 512 2048; do
    for requests in 10000 100000 1000000 10000000; do
        ((requests <= most)) || continue
        rate=$(awk "BEGIN { print 2 * $half * 0.0926 }")
        json=$("$conductor" replay --json --cluster "${half}p${half}d" --policy kvcache-centric+early-predicted \
            --workload kimi-conversation --grid 0 --rate "$rate" --requests "$requests")
        cpu=$(number cpu_s "$json")
        events=$(number events "$json")
        memory=$(number peak_rss_mb "$json")
        awk "BEGIN { printf \"| %d | %d | %.2f | %.1f | %d | %.2f | %.2f | %.0f |\n\",
            2 * $half, $requests, $cpu, 1e6 * $cpu / $requests, $events, $events / $requests, 1e6 * $cpu / $events, $memory }"
    done
done
