#!/usr/bin/env bash
# Counts the instructions of fixed replays under callgrind and compares them with benches/instructions.toml, so that a
# slow-down is seen on a noisy machine. --update writes the file anew: do so with a change that means to cost or save.
#
# What is counted is the binary that `cargo build --release` makes, from its first instruction to its last, with an empty
# environment. Nothing in it is seeded by chance or by time, so that two counts of one build differ by less than a
# thousandth (paths, the size of the clock's numbers, and which copy routines the processor's features choose).
set -euo pipefail
cd "$(dirname "$0")/.."

file=benches/instructions.toml
# Per cent by which a count may differ, up or down: what is much faster is to be written down too.
tolerance=3

# Name, then the arguments of `conductor`: one for each of what is hot, all of built-in inputs.
runs=(
  "conversation-8p8d replay --workload kimi-conversation --limit 4000 --policy kvcache-centric --cluster 8p8d"
  "toolagent-8p8d-early-predicted replay --workload kimi-toolagent --limit 4000 --speed 3 --policy kvcache-centric+early-predicted --cluster 8p8d"
  "conversation-500p500d replay --workload kimi-conversation --limit 4000 --speed 100 --policy kvcache-centric+early-predicted --cluster 500p500d"
)

if ! command -v valgrind >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends valgrind libc6-dbg >/dev/null
  else
    echo "instructions: left out, for want of valgrind" >&2
    exit 0
  fi
fi

if [ ! -x target/release/conductor ]; then
  cargo build --release --locked
fi
toolchain="$(rustc --version)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

count() {
  local log="$work/log" collected
  shift
  if ! env -i HOME="$work" valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    target/release/conductor "$@" >"$work/out" 2>"$log"; then
    tail -5 "$log" >&2
    return 1
  fi
  collected="$(awk '/Collected/ {print $NF}' "$log")"
  [ -n "$collected" ] || { echo "instructions: callgrind said no count" >&2; return 1; }
  echo "$collected"
}

if [ "${1:-}" = --update ]; then
  {
    echo "# Instructions of fixed replays, as benches/instructions.sh counts them (--update writes this file)."
    echo "toolchain = \"$toolchain\""
    echo
    echo "[instructions]"
    for run in "${runs[@]}"; do
      # shellcheck disable=SC2086 -- words of a fixed list
      found="$(count $run)"
      echo "${run%% *} = $found"
    done
  } >"$work/new"
  mv "$work/new" "$file"
  cat "$file"
  exit 0
fi

known="$(sed -n 's/^toolchain = "\(.*\)"$/\1/p' "$file")"
if [ "$known" != "$toolchain" ]; then
  echo "instructions: counted by $toolchain, noted by $known: differences are said and not judged" >&2
fi
failed=0
for run in "${runs[@]}"; do
  name="${run%% *}"
  noted="$(sed -n "s/^$name = \([0-9]*\)$/\1/p" "$file")"
  [ -n "$noted" ] || { echo "instructions: $file has no count of $name: run $0 --update" >&2; exit 1; }
  # shellcheck disable=SC2086 -- words of a fixed list
  found="$(count $run)"
  change="$(awk -v found="$found" -v noted="$noted" 'BEGIN { printf "%+.2f", 100 * (found - noted) / noted }')"
  echo "$name: $found instructions, noted $noted: $change %"
  if awk -v change="$change" -v tolerance="$tolerance" 'BEGIN { exit !(change > tolerance || change < -tolerance) }'; then
    echo "$name: more than $tolerance % off; if that is meant: benches/instructions.sh --update" >&2
    failed=1
  fi
done
[ "$failed" = 0 ] || [ "$known" != "$toolchain" ]
