#!/usr/bin/env bash
# Builds the virtual machine's kernel and root file system from Debian packages, once, into a folder that is no part of the
# repository: vmlinuz, base.cpio.gz (tools, modules and init) and `version`, which says what they were made of.
#
#     build-base.sh FOLDER
#
# Packages are downloaded, not installed: the machine that runs this keeps what it has.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The kernel's name changes with security updates: ask for it.
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -1)
[ -n "$kernel" ] || { echo "rdma-vm: apt knows no linux-image-amd64: run apt-get update" >&2; exit 1; }
packages="$kernel busybox-static rdma-core libibverbs1 ibverbs-providers libnl-3-200 libnl-route-3-200 iproute2"
version="$kernel $(cat "$here"/build-base.sh "$here"/init | sha256sum | cut -c1-16)"
if [ "$(cat "$out/version" 2>/dev/null)" = "$version" ]; then exit 0; fi

# What `insmod` is to load; what they depend on is found.
modules="crc32_generic crc32-pclmul crc32c_generic libcrc32c rdma_rxe ib_uverbs veth sch_netem"
tools="/sbin/ip /sbin/tc /bin/rdma"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/deb" "$work/all" "$work/root"
if [ "$(id -u)" = 0 ]; then chown _apt "$work" "$work/deb" 2>/dev/null || true; fi
(cd "$work/deb" && apt-get download -qq $packages)
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/all"; done

cp "$work"/all/boot/vmlinuz-* "$out/vmlinuz"
tree=$(echo "$work"/all/lib/modules/*)
[ -d "$tree" ] || tree=$(echo "$work"/all/usr/lib/modules/*)

cd "$work/root"
mkdir -p bin sbin lib lib64 proc sys dev tmp modules etc payload
cp "$work/all/bin/busybox" bin/busybox
cp "$here/init" init
chmod +x init

# Modules in the order in which they can be loaded.
declare -A done=()
add_module() {
  local name=${1//-/_} file dependency
  [ -n "${done[$name]:-}" ] && return
  done[$name]=1
  file=$(find "$tree" \( -name "$1.ko" -o -name "$1.ko.xz" -o -name "${1//_/-}.ko" -o -name "${1//_/-}.ko.xz" \) | head -1)
  # Built into this kernel.
  [ -n "$file" ] || return 0
  for dependency in $(modinfo -F depends "$file" | tr ',' ' '); do add_module "$dependency"; done
  case $file in
    *.xz) xz -dc "$file" > "modules/$name.ko" ;;
    *) cp "$file" "modules/$name.ko" ;;
  esac
  echo "$name" >> modules/order
}
for module in $modules; do add_module "$module"; done

# Tools and libraries as they are at home in Debian, with what they need.
export LD_LIBRARY_PATH="$work/all/usr/lib/x86_64-linux-gnu:$work/all/lib/x86_64-linux-gnu"
add_libraries() {
  ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^\t\(\/[^ ]*ld-linux[^ ]*\).*/\1/p' |
    while read -r library; do
      case $library in *ld-linux*) cp -nL "$library" lib64/ ;; *) cp -nL "$library" lib/ ;; esac
    done
}
for tool in $tools; do
  [ -e "$work/all$tool" ] || tool=/usr$tool
  cp -L "$work/all$tool" sbin/
  add_libraries "$work/all$tool"
done
cp -L "$work"/all/usr/lib/x86_64-linux-gnu/libibverbs.so.1 lib/
add_libraries lib/libibverbs.so.1
mkdir -p lib/x86_64-linux-gnu/libibverbs etc/libibverbs.d usr/lib
cp "$work"/all/usr/lib/x86_64-linux-gnu/libibverbs/librxe-*.so lib/x86_64-linux-gnu/libibverbs/
ln -s ../../lib/x86_64-linux-gnu usr/lib/x86_64-linux-gnu
echo "driver rxe" > etc/libibverbs.d/rxe.driver

find . | cpio --quiet -o -H newc | gzip -6 > "$out/base.cpio.gz"
echo "$version" > "$out/version"
echo "rdma-vm: built $kernel, $(du -h "$out/base.cpio.gz" | cut -f1) in $out"
