# Runs in the virtual machine: the cases, one after the other, each in a process of its own.
export CONDUCTOR_RDMA_VM=1 CONDUCTORD=/payload/conductord RUST_BACKTRACE=0
only=$(cat /payload/only)
passed=0 failed=0

case_() { # NAME PROGRAM ARGUMENTS
  name=$1
  shift
  case " $only " in "  " | *" $name "*) ;; *) return ;; esac
  begun=$(cut -d' ' -f1 /proc/uptime)
  if "$@" > /tmp/said 2>&1; then
    passed=$((passed + 1)) word=passed
  else
    failed=$((failed + 1)) word=FAILED
  fi
  took=$(awk "BEGIN { printf \"%.1f\", $(cut -d' ' -f1 /proc/uptime) - $begun }")
  said=$(sed -n "s/.*\b$name: //p" /tmp/said | head -1)
  count=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' /tmp/said)
  # A name that no test has would pass with none.
  if [ $word = passed ] && [ "${count:-0}" = 0 ]; then
    passed=$((passed - 1)) failed=$((failed + 1)) word=FAILED
  fi
  echo "$word $name ($took s${count:+, $count tests}) $said"
  [ $word = passed ] || sed "s/^/    /" /tmp/said | tail -40
}

m() { name=$1; shift; case_ "$name" /payload/messenger --nocapture --test-threads 1 "$@"; }

m write rdma::cases::write
m read rdma::cases::read
m streaming stream::layers
m rkey rdma::cases::rkey rights::what_is_not rights::after rights::a_node_that_leaves
m events rdma::cases::events notices::
m dead-peer rdma::cases::dead_peer process::another
m loss rdma::cases::loss
m failover rdma::cases::failover
m endpoints rdma::counted::endpoints
m leak rdma::counted::leak
m scatter scatter::large scatter::over_verbs
m fetch blocks::the_longest
m pressure pressure::one pressure::notices pressure::an_application
m shutdown faults::another_secret faults::who_shuts faults::a_link_that_closes garbage::
case_ disaggregated /payload/processes --nocapture over_rdma
echo "$passed passed, $failed failed"
[ $failed = 0 ]
