#!/usr/bin/env bash
# Boots the virtual machine with a payload and passes its exit code on.
#
#     boot.sh BASE PAYLOAD SECONDS
#
# PAYLOAD is a folder with a script run.sh. The shared libraries that its programs need are packed with it. 124: it took
# longer than SECONDS; 125: the machine ended without saying how (a panic of its kernel).
set -euo pipefail
base=$1
payload=$2
seconds=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/payload/lib" "$work/root/lib64"
cp -a "$payload/." "$work/root/payload/"
find "$payload" -type f -perm -u+x | while read -r file; do
  ldd "$file" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^\t\(\/[^ ]*ld-linux[^ ]*\).*/\1/p'
done | sort -u | while read -r library; do
  case $library in *ld-linux*) cp -L "$library" "$work/root/lib64/" ;; *) cp -L "$library" "$work/root/payload/lib/" ;; esac
done
# The kernel takes several archives, one behind the other.
(cd "$work/root" && find . | cpio --quiet -o -H newc | gzip -1) | cat "$base/base.cpio.gz" - > "$work/initramfs"

# Emulated, since a machine that runs checks is often virtual itself; one processor is as fast as two here and never
# waits for its twin. No network: the machine has its own. A panic ends the machine (panic=-1, -no-reboot).
set +e
timeout --kill-after=5 "$seconds" qemu-system-x86_64 \
  -M q35 -accel tcg,thread=multi -cpu max -smp 1 -m 1536 -nodefaults -nic none -display none -no-reboot \
  -kernel "$base/vmlinuz" -initrd "$work/initramfs" \
  -append "console=ttyS0 quiet loglevel=3 panic=-1 rcupdate.rcu_expedited=1 mitigations=off rdinit=/init" -serial stdio </dev/null 2>&1 |
  tr -d '\r' | tee "$work/log"
ended=${PIPESTATUS[0]}
set -e
[ "$ended" != 124 ] || { echo "rdma-vm: not done within $seconds s" >&2; exit 124; }
code=$(sed -n 's/.*rdma-vm exit \([0-9]*\)$/\1/p' "$work/log" | tail -1)
exit "${code:-125}"
