#!/usr/bin/env bash
# How fast urgent requests are answered while bulk saturates every link on their way, in namespaces of
# their own:
#
#   a ── RATE Mbit/s ── r1 ── RATE Mbit/s ── r2 ── RATE Mbit/s ── b      TLS links, tbf both ways
#
# The bulk is a stream from a to b that takes all it gets; with BULK=each every node on the way sends its
# next neighbour another one, so that each hop's queue is full of more than what the hop before let pass.
# Requests go from a to b, which are nodes embedded in programs that ask and answer (perf/src/asks.rs), at
# the highest priority, idle and under load, and beside them at the bulk's own priority: what they would
# take without priorities. Pings are answered by the node itself. Printed with them are what each link
# carried, headers included, and how much of the processors was left: if that is nothing, they are the
# limit and not the links. Needs root, ip, tc and python3.
#   perf/urgent.sh [LINKS [RATE ...]]        (3 100 1000)
# NICE=-15 puts it before what else runs; TRUNKLINE and ASKS name programs that are built already.
# PEER=nats does the same with nats-server on each r, routed to the next, in the clear, and clients at a
# and b (perf/urgent-nats.py): nats has no priorities, so there is one kind of request. PEER=zenoh does it
# with zenohd and clients of zenoh's own (perf/zenoh/src/asks.rs, built by perf/peers.sh zenohd): requests
# and answers as urgent as there is, and at the bulk's priority.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LINKS=${1:-3} BULK=${BULK:-through} PEER=${PEER:-trunkline}
shift || true
if [ "$PEER" = trunkline ] && [ -z "${TRUNKLINE:-}" ]; then
  cargo build --release -q -p trunkline-tools -p trunkline-perf
  TRUNKLINE=${CARGO_TARGET_DIR:-$PWD/target}/release/trunkline
  ASKS=${CARGO_TARGET_DIR:-$PWD/target}/release/asks
fi
[ -z "${NICE:-}" ] || renice -n "$NICE" -p $$ >/dev/null
dir=$(mktemp -d)
net=tlurgent$$
hosts=(a)
for ((i = 1; i < LINKS; i++)); do hosts+=("r$i"); done
hosts+=(b)
declare -A hashname
finish() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  for host in "${hosts[@]}"; do ip netns del "$net$host" 2>/dev/null || true; done
}
trap 'finish; rm -rf "$dir"' EXIT

in_background() { exec ip netns exec "$net$1" "${@:2}"; } # the process itself, so that it can be ended
# Asks from a to b: request or ping, priority, count, milliseconds from one to the next.
ask() {
  echo "$@" >&7
  read -r answer <&8
  echo "$answer"
}

node() { # name, more of the configuration
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[listen]\nudp = []\ntls = ["0.0.0.0:42424"]\n[control]\nsocket = "%s.sock"\n[sock]\nallow = ["127.0.0.1:8080"]\n%b' \
    "$1" "$1" "$dir/$1" "$2" >"$dir/$1.toml"
  in_background "$1" "$TRUNKLINE" run --config "$dir/$1.toml" 2>"$dir/$1.log" &
}

# A chain: `on` leads towards b, `back` towards a.
wire() { # rate in Mbit/s
  local burst=$(($1 * 64)) i end host device address
  [ "$burst" -ge 16384 ] || burst=16384
  for host in "${hosts[@]}"; do ip netns add "$net$host"; ip -n "$net$host" link set lo up; done
  for ((i = 0; i < LINKS; i++)); do
    ip link add on netns "$net${hosts[i]}" type veth peer name back netns "$net${hosts[i + 1]}"
    for end in "${hosts[i]}:on:10.0.$i.1" "${hosts[i + 1]}:back:10.0.$i.2"; do
      IFS=: read -r host device address <<<"$end"
      ip -n "$net$host" addr add "$address/24" dev "$device"
      ip -n "$net$host" link set "$device" up
      tc -n "$net$host" qdisc replace dev "$device" root \
        tbf rate "${1}mbit" burst "$burst" latency 400ms
    done
  done
}

# Fills what leads from one node to another: through a port that a has from the start, or one made now.
flood() { # from, to, port
  [ "$1" = a ] || in_background "$1" "$TRUNKLINE" proxy "${hashname[$2]}" 127.0.0.1:8080 --listen "127.0.0.1:$3" \
    --control "$dir/$1.sock" >/dev/null 2>&1 &
  in_background "$1" python3 -c 'import socket, sys, time
for _ in range(100):
    try: s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); break
    except OSError: time.sleep(0.1)
b = bytes(1 << 18)
try:
    while True: s.sendall(b)
except OSError: pass' "$3" 2>/dev/null &
}
sink() { # host
  in_background "$1" python3 -c 'import socket, threading
def drain(c):
    b = bytearray(1 << 18)
    while c.recv_into(b): pass
s = socket.create_server(("127.0.0.1", 8080))
while True: threading.Thread(target=drain, args=(s.accept()[0],), daemon=True).start()' 2>/dev/null &
}

look() { # when, processor ticks in all and unused, bytes each link has sent towards b
  date +%s.%N
  awk '/^cpu / {print $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9, $5 + $6}' /proc/stat
  for host in "${hosts[@]:0:LINKS}"; do
    tc -n "$net$host" -s qdisc show dev on | awk '/Sent/ {print $2; exit}'
  done
}

measure() { # rate in Mbit/s
  local rate=$1 i idle loaded ordinary pings_idle pings_loaded before after
  wire "$rate"
  for ((i = 1; i < LINKS; i++)); do
    node "${hosts[i]}" "[[link]]\naddress = \"10.0.$i.2:42424\"\nhashname = \"${hashname[${hosts[i + 1]}]}\"\n"
    sink "${hosts[i]}"
  done
  sink b
  mkfifo "$dir/questions" "$dir/answers" "$dir/end"
  in_background b "$ASKS" answer --keys "$dir/b.keys" --listen 0.0.0.0:42424 --allow 127.0.0.1:8080 \
    <"$dir/end" >/dev/null 2>"$dir/b.log" &
  in_background a "$ASKS" ask --keys "$dir/a.keys" --to "${hashname[b]}" --link 10.0.0.2:42424 \
    --neighbour "${hashname[${hosts[1]}]}" --proxy 127.0.0.1:8080 127.0.0.1:9091 --next 127.0.0.1:8080 127.0.0.1:9090 \
    <"$dir/questions" >"$dir/answers" 2>"$dir/a.log" &
  exec 6>"$dir/end" 7>"$dir/questions" 8<"$dir/answers"
  for host in "${hosts[@]:1:LINKS-1}"; do
    until "$TRUNKLINE" status --control "$dir/$host.sock" >/dev/null 2>&1; do sleep 0.1; done
  done
  read -r answer <&8 || { cat "$dir"/*.log >&2; exit 1; }
  ask request 7 100 10 >/dev/null # warm
  idle=$(ask request 7 500 10)
  pings_idle=$(ask ping 7 500 10)
  flood a b 9091
  if [ "$BULK" = each ]; then
    for ((i = 0; i < LINKS; i++)); do flood "${hosts[i]}" "${hosts[i + 1]}" 9090; done
  fi
  sleep 4
  before=$(look)
  loaded=$(ask request 7 500 10)
  after=$(look)
  pings_loaded=$(ask ping 7 500 10)
  ordinary=$(ask request 3 100 50)
  exec 6>&- 7>&- 8<&-
  rm "$dir/questions" "$dir/answers" "$dir/end"
  printf '%-12s %-14s %-14s %-14s %-14s %-16s %s\n' "$rate Mbit/s" "$idle" "$loaded" "$pings_idle" "$pings_loaded" \
    "$ordinary" "$(carried "$before" "$after")"
  finish
}
carried() { # before, after
  python3 -c 'import sys
before, after = ([float(x) for x in look.split()] for look in sys.argv[1:])
gone = [y - x for x, y in zip(before, after)]
print(*("%.0f" % (sent * 8 / gone[0] / 1e6) for sent in gone[3:]), "  %.0f %%" % (100 * gone[2] / gone[1]))' "$@"
}

# A peer's router on `host`, which leads to the one at `next` if there is one; one of its clients.
peer_router() { # host, next
  case $PEER in
  nats)
    in_background "$1" "$ROUTER" -a 0.0.0.0 -p 4222 --cluster_name urgent --cluster nats://0.0.0.0:6222 \
      ${2:+--routes "nats-route://$2:6222"} >"$dir/$1.log" 2>&1 &
    ;;
  zenoh)
    RUST_LOG=error in_background "$1" "$ROUTER" --no-multicast-scouting -l tcp/0.0.0.0:7447 \
      ${2:+-e "tcp/$2:7447"} >"$dir/$1.log" 2>&1 &
    ;;
  esac
}
peer_client() { # host, part, address
  case $PEER in
  nats) in_background "$1" python3 "$PWD/perf/urgent-nats.py" "$2" "$3" 2>>"$dir/$1.log" ;;
  zenoh) in_background "$1" "$CLIENT" "$2" "tcp/$3:7447" 2>>"$dir/$1.log" ;;
  esac
}
measure_peer() { # rate in Mbit/s
  local rate=$1 i idle loaded ordinary=- before after last=$((LINKS - 1)) next urgent='' usual=''
  # Priorities of zenoh: RealTime and, as the bulk, Data.
  [ "$PEER" = nats ] || { urgent=1 usual=5; }
  wire "$rate"
  for ((i = last; i > 0; i--)); do
    next=''
    [ "$i" = "$last" ] || next="10.0.$i.2"
    peer_router "${hosts[i]}" "$next"
  done
  mkfifo "$dir/questions" "$dir/answers"
  peer_client b answer "10.0.$last.1" &
  peer_client b sink "10.0.$last.1" &
  peer_client a ask 10.0.0.2 <"$dir/questions" >"$dir/answers" &
  exec 7>"$dir/questions" 8<"$dir/answers"
  read -r answer <&8 || { cat "$dir"/*.log >&2; exit 1; }
  # shellcheck disable=SC2086
  ask $urgent 100 10 >/dev/null # warm
  # shellcheck disable=SC2086
  idle=$(ask $urgent 500 10)
  peer_client a flood 10.0.0.2 &
  sleep 4
  before=$(look)
  # shellcheck disable=SC2086
  loaded=$(ask $urgent 500 10)
  after=$(look)
  [ -z "$usual" ] || ordinary=$(ask "$usual" 100 50)
  exec 7>&- 8<&-
  rm "$dir/questions" "$dir/answers"
  printf '%-12s %-16s %-20s %-20s %s\n' "$rate Mbit/s" "$idle" "$loaded" "$ordinary" "$(carried "$before" "$after")"
  finish
}

printf 'round trips over %s links, milliseconds: median, 99th percentile, and how many were not answered\n' "$LINKS"
if [ "$PEER" != trunkline ]; then
  PATH=$PATH:/usr/sbin:${CARGO_TARGET_DIR:-$PWD/target}/peers/bin:${CARGO_TARGET_DIR:-$PWD/target}/peers/build/release
  case $PEER in
  nats) programs=(nats-server) ;;
  zenoh) programs=(zenohd zenohasks) ;;
  *) echo "perf/urgent.sh: PEER is nats, zenoh or nothing" >&2; exit 2 ;;
  esac
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || { echo "MISSING: $program is not installed here: perf/peers.sh" >&2; exit 1; }
  done
  ROUTER=$(command -v "${programs[0]}") CLIENT=$(command -v "${programs[-1]}")
  printf '%-12s %-16s %-20s %-20s %s\n' links 'requests, idle' loaded "at the bulk's priority" 'Mbit/s of each, processors unused'
  [ $# -gt 0 ] || set -- 100 1000
  for rate in "$@"; do measure_peer "$rate"; done
  exit
fi
for name in "${hosts[@]}"; do
  "$TRUNKLINE" keys new --space urgent --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
  hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
done
printf '%-12s %-14s %-14s %-14s %-14s %-16s %s\n' links 'urgent, idle' loaded 'pings, idle' loaded \
  'ordinary, loaded' 'Mbit/s of each, processors unused'
[ $# -gt 0 ] || set -- 100 1000
for rate in "$@"; do measure "$rate"; done
