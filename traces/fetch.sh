#!/bin/sh
# Gets the public traces into traces/data/ and checks them. Usage: traces/fetch.sh [NAME…]
# (names: conversation synthetic toolagent azure-conv; all of them without an argument).
set -eu

data=$(cd "$(dirname "$0")" && pwd)/data
mooncake=https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces
azure=https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# fetch FILE URL SHA256; an empty checksum is one that this project does not know.
fetch() {
    file=$data/$1
    if [ ! -f "$file" ]; then
        echo "fetching $2" >&2
        curl --fail --location --silent --show-error --output "$file.part" "$2"
    else
        echo "$1 is there already" >&2
        cp "$file" "$file.part"
    fi
    found=$(sha256 "$file.part")
    if [ -z "$3" ]; then
        echo "$1: no checksum is known to this project; this file has sha256 $found" >&2
    elif [ "$found" != "$3" ]; then
        rm "$file.part"
        echo "$1: expected sha256 $3, found $found; a broken file in $data must be removed by hand" >&2
        exit 1
    fi
    mv "$file.part" "$file"
}

mkdir -p "$data"
[ $# -gt 0 ] || set -- conversation synthetic toolagent azure-conv
for name; do
    case $name in
    conversation)
        fetch conversation_trace.jsonl $mooncake/conversation_trace.jsonl \
            b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df
        ;;
    synthetic)
        fetch synthetic_trace.jsonl $mooncake/synthetic_trace.jsonl \
            bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131
        ;;
    toolagent)
        fetch toolagent_trace.jsonl $mooncake/toolagent_trace.jsonl ''
        ;;
    azure-conv)
        fetch AzureLLMInferenceTrace_conv.csv $azure/AzureLLMInferenceTrace_conv.csv \
            2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8
        ;;
    *)
        echo "unknown trace $name: expected conversation, synthetic, toolagent or azure-conv" >&2
        exit 2
        ;;
    esac
done
