#!/usr/bin/env bash
# How fast urgent messages are while a bulk flow saturates two links, in namespaces of its own:
#
#   a ── RATE Mbit/s ── r ── RATE Mbit/s ── b      TLS links, limited by tbf both ways
#
# Round trips between a and b at the highest priority, idle and under load, and beside them at the
# bulk flow's own priority: what they would be without priorities. Needs root, ip, tc and python3.
#   perf/urgent.sh [RATE ...]        (100 1000)
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release -q -p trunkline-tools
readonly TRUNKLINE=${CARGO_TARGET_DIR:-$PWD/target}/release/trunkline
dir=$(mktemp -d)
net=tlurgent$$
finish() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  for host in a r b; do ip netns del "$net$host" 2>/dev/null || true; done
}
trap 'finish; rm -rf "$dir"' EXIT

in_background() { exec ip netns exec "$net$1" "${@:2}"; } # the process itself, so that it can be ended
milliseconds() { python3 -c 'import json, sys
s = json.loads(sys.stdin.read().splitlines()[-1])
print(*("%.1f" % (s[k] / 1000) for k in ("p50_us", "p99_us")), s["sent"] - s["received"])'; }
ask() { "$TRUNKLINE" ping "$b" --control "$dir/a.sock" --json "$@" 2>/dev/null; }

node() { # name, listen, more of the configuration
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[listen]\nudp = []\ntls = %s\n[control]\nsocket = "%s.sock"\n%b' \
    "$1" "$1" "$2" "$dir/$1" "$3" >"$dir/$1.toml"
  in_background "$1" "$TRUNKLINE" run --config "$dir/$1.toml" 2>"$dir/$1.log" &
}

measure() { # rate in Mbit/s
  local rate=$1 burst=$(($1 * 64)) before after bulk
  [ "$burst" -ge 16384 ] || burst=16384
  for host in a r b; do ip netns add "$net$host"; ip -n "$net$host" link set lo up; done
  ip link add left netns "${net}a" type veth peer name left netns "${net}r"
  ip link add right netns "${net}r" type veth peer name right netns "${net}b"
  for end in a:left:10.0.1.1 r:left:10.0.1.2 r:right:10.0.2.1 b:right:10.0.2.2; do
    IFS=: read -r host device address <<<"$end"
    ip -n "$net$host" addr add "$address/24" dev "$device"
    ip -n "$net$host" link set "$device" up
    tc -n "$net$host" qdisc replace dev "$device" root \
      tbf rate "${rate}mbit" burst "$burst" latency 400ms
  done
  node r '["0.0.0.0:42424"]' ''
  node a '[]' "[[link]]\naddress = \"10.0.1.2:42424\"\nhashname = \"$r\"\n"
  node b '[]' "[sock]\nallow = [\"127.0.0.1:8080\"]\n[[link]]\naddress = \"10.0.2.1:42424\"\nhashname = \"$r\"\n"
  until ask --count 1 --timeout 500ms >/dev/null; do sleep 0.1; done
  in_background b python3 -c 'import socket
s = socket.create_server(("127.0.0.1", 8080)); c, _ = s.accept(); b = bytearray(1 << 18)
while c.recv_into(b): pass' &
  in_background a "$TRUNKLINE" proxy "$b" 127.0.0.1:8080 --listen 127.0.0.1:9090 --control "$dir/a.sock" \
    >/dev/null 2>&1 &
  ask --count 100 --interval 10ms --priority 7 >/dev/null # warm
  local idle loaded ordinary
  idle=$(ask --count 500 --interval 10ms --priority 7 | milliseconds)
  in_background a python3 -c 'import socket, time
for _ in range(100):
    try: s = socket.create_connection(("127.0.0.1", 9090)); break
    except OSError: time.sleep(0.1)
b = bytes(1 << 18)
try:
    while True: s.sendall(b)
except OSError: pass' 2>/dev/null &
  sleep 3
  before=$(sent)
  loaded=$(ask --count 500 --interval 10ms --priority 7 | milliseconds)
  ordinary=$(ask --count 200 --interval 10ms --priority 3 | milliseconds)
  after=$(sent)
  bulk=$(python3 -c "b, a = '$before'.split(), '$after'.split()
print('%.0f' % ((int(a[0]) - int(b[0])) * 8 / (float(a[1]) - float(b[1])) / 1e6))")
  printf '%-12s %-22s %-22s %-22s %s\n' "$rate Mbit/s" "$idle" "$loaded" "$ordinary" "$bulk Mbit/s"
  finish
}
sent() { # bytes the last link has sent, and when
  tc -n "${net}r" -s qdisc show dev right | awk '/Sent/ {printf "%s ", $2}'
  date +%s.%N
}

for name in a r b; do
  "$TRUNKLINE" keys new --space urgent --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
done
r=$(grep -oE '[0-9a-f]{64}' "$dir/r.out" | head -1)
b=$(grep -oE '[0-9a-f]{64}' "$dir/b.out" | head -1)
printf 'round trips, milliseconds: median, 99th percentile, and how many were lost\n'
printf '%-12s %-22s %-22s %-22s %s\n' links 'urgent, idle' 'urgent, loaded' 'ordinary, loaded' bulk
for rate in "${@:-100 1000}"; do for each in $rate; do measure "$each"; done; done
