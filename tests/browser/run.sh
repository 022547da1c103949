#!/usr/bin/env bash
# report.html in a real browser: Debian's chromium, headless, driven by playwright-core. See README.md.
#
#   tests/browser/run.sh [PAGE…]     without a page: an experiment and a comparison are run, and their pages checked
#
# What is missing is installed: chromium by apt-get, playwright-core by npm (into a temporary folder). Screenshots go to
# $SCREENSHOTS, if it is set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v chromium >/dev/null; then
  echo "installing chromium"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >"$work/apt.log"
fi
cp "$here/package.json" "$here/package-lock.json" "$here/check.mjs" "$work/"
(cd "$work" && npm ci --silent --no-audit --no-fund)

pages=("$@")
if [ ${#pages[@]} -eq 0 ]; then
  (cd "$root" && cargo build --release --locked --quiet)
  conductor=$root/target/release/conductor
  # Each kind of plot, from a specification of its own: a minute's worth of requests.
  "$conductor" experiment run "$here/drawn.toml" --out "$work/experiments" >"$work/run.log"
  "$conductor" compare --requests 600 --out "$work/compare" >>"$work/run.log"
  pages=("$work/experiments/report.html" "$work/compare/report.html")
fi
for page in "${pages[@]}"; do
  page=$(realpath "$page")
  (cd "$work" && CHROMIUM=$(command -v chromium) PROFILE="$work/profile" node check.mjs "$page")
done
