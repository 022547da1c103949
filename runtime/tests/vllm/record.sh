#!/usr/bin/env bash
# Records the KV events of a vLLM that runs: record.sh URL EVENTS REPLAY OUT
# The first requests are made before anybody listens, so that the recording has a replay, too. The engine must have been
# started for this with an empty cache and 300 blocks (`--num-gpu-blocks-override 300`), so that blocks have to go.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
url=$1 events=$2 replay=$3 out=$4
conductord=${CONDUCTORD:-$here/../../../target/debug/conductord}
python3 "$here/requests.py" "$url" 0 12
"$conductord" record-events --events "$events" --replay "$replay" --seconds "${SECONDS_MAX:-60}" -o "$out" &
recorder=$!
sleep 1
python3 "$here/requests.py" "$url" 12 40
sleep 1
kill -INT "$recorder"
wait "$recorder"
