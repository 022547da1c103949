#!/usr/bin/env bash
# Discovery against a real etcd: installs Debian's etcd-server, and protobuf-compiler, which the client's build needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v etcd >/dev/null || ! command -v protoc >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests/etcd/run.sh: etcd and protoc are needed (Debian: etcd-server, protobuf-compiler)" >&2
    exit 1
  fi
  apt-get update -qq
  # The package starts a server of its own where there is systemd; the test uses its own ports.
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server protobuf-compiler
fi
cargo test --locked -p conductor-runtime --features etcd --test etcd
