#!/bin/bash
# Runs sweep.sh on a real Slurm: installs Debian's slurm-wlm and munge, starts them with a configuration of their own on
# the loopback address, one node with room for two tasks, and compares what a job array of four tasks and the job behind
# it give with what one process gives, byte for byte. Ends the daemons that it started, and no others.
#
# Needs root on Debian or Ubuntu (it installs packages and runs daemons), and cargo or $CONDUCTOR. Run on demand:
#   experiments/slurm/test.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
limit_s=300

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }

if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  say "installing slurm-wlm and munge"
  # Installed services would start at once, with no configuration: they must not.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
  rm /usr/sbin/policy-rc.d
fi
if [ -z "${CONDUCTOR:-}" ]; then
  (cd "$here/../.." && cargo build --release --quiet)
  CONDUCTOR=$here/../../target/release/conductor
fi
CONDUCTOR=$(realpath "$CONDUCTOR")
export CONDUCTOR

work=$(mktemp -d)
chmod 755 "$work"
pids=()
finish() {
  local code=$?
  if [ $code -ne 0 ]; then tail -n 20 "$work"/*.log "$work"/task-*.out 2>/dev/null || true; fi
  # In the order in which they depend on each other, the last first.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  rm -rf "$work"
  exit $code
}
trap finish EXIT

# Two ports that are free now.
read -r port_ctld port_d < <(python3 -c '
import socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 0)); b.bind(("127.0.0.1", 0))
print(a.getsockname()[1], b.getsockname()[1])')

mkdir "$work/munge" "$work/state" "$work/spool"
chmod 700 "$work/munge" "$work/spool"
head -c 1024 /dev/urandom >"$work/munge/key"
chmod 600 "$work/munge/key"
mkdir -m 755 "$work/socket"
munged --foreground --force --socket "$work/socket/munge" --key-file "$work/munge/key" --pid-file "$work/munge/pid" \
  --log-file "$work/munge/log" --seed-file "$work/munge/seed" --num-threads 2 >"$work/munged.log" 2>&1 &
pids+=($!)

host=$(hostname -s)
cat >"$work/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port_ctld
SlurmdPort=$port_d
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$work/socket/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
export SLURM_CONF=$work/slurm.conf
for ((i = 0; i < 50; i++)); do [ -S "$work/socket/munge" ] && break; sleep 0.2; done
slurmctld -D -f "$SLURM_CONF" >"$work/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" -N "$host" >"$work/slurmd.log" 2>&1 &
pids+=($!)
say "munged, slurmctld and slurmd are started: $(slurmctld -V), $(munged --version | head -n 1)"
for ((i = 0; i < 100; i++)); do
  [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ] && break
  sleep 0.3
done
sinfo --noheader --format='partition %P, node %N, %c processors, %t'

cd "$work"
small=$here/small.toml
parts=$(sbatch --parsable --array=1-4 --output="$work/task-%a.out" "$here/sweep.sh" "$small" --out "$work/array")
merge=$(sbatch --parsable --dependency="afterok:$parts" --output="$work/task-merge.out" "$here/sweep.sh" "$small" --out "$work/array")
say "submitted array $parts with 4 tasks, and job $merge behind it"
most=0
for ((i = 0; i < limit_s * 4; i++)); do
  running=$(squeue --noheader --states=RUNNING | wc -l)
  [ "$running" -gt "$most" ] && most=$running
  [ -z "$(squeue --noheader)" ] && break
  sleep 0.25
done
say "all jobs have ended; at most $most ran at once"
for task in 1 2 3 4 merge; do
  printf 'task %s: ' "$task"
  grep -h 'runs done' "$work/task-$task.out"
done
[ "$most" -eq 2 ] || { say "expected two tasks at once, saw $most"; exit 1; }
grep -q ': 0 runs done, 24 cached' "$work/task-merge.out" || { say "the last job ran what a task should have"; exit 1; }

say "one process, for comparison"
"$CONDUCTOR" experiment run "$small" --out "$work/whole" >/dev/null 2>&1
diff -r --exclude=.runs --exclude=timing.csv --exclude=summary.md "$work/whole" "$work/array"
files=$(cd "$work/whole" && find . -type f -not -path './.runs/*' -not -name timing.csv -not -name summary.md | wc -l)
say "equal: $files files, byte for byte"
