#!/usr/bin/env bash
# What each of the eight priorities gets of a link when all of them are flooded, in namespaces of its
# own:
#
#   senders ════════ r ── RATE Mbit/s ── receiver      a link each; htb limits what r sends
#
# Every priority is offered OFFER percent of the link's rate, eight times that in all. Three tables:
# with three tenths each, so that some find room and the others do not; with more than the link takes
# each; and the same with `limits.lower_share` at 5 percent. Throughput is what came while it was
# measured, whenever it was due; latencies are of all that came, also of what the queues still held at
# the end, which says little where almost nothing came. Needs root, ip, tc and python3.
# Offered is eight times what is measured, over TLS: the relay must have processor left for it.
#   perf/levels.sh [RATE [SECONDS]]        (20 20)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RATE=${1:-20} SECONDS_=${2:-20} SIZE=4000
if [ -z "${TRUNKLINE_DIR:-}" ]; then
  cargo build --release -q -p trunkline-tools
  TRUNKLINE_DIR=${CARGO_TARGET_DIR:-$PWD/target}/release
fi
dir=$(mktemp -d)
net=tllevels$$
relay=
finish() {
  [ -z "$relay" ] || kill "$relay" 2>/dev/null || true
  wait 2>/dev/null || true
  for host in l r; do ip netns del "$net$host" 2>/dev/null || true; done
}
trap 'finish; rm -rf "$dir"' EXIT

"$TRUNKLINE_DIR/trunkline" keys new --space load --out "$dir/r.keys" >"$dir/r.out" 2>&1
r=$(grep -oE '[0-9a-f]{64}' "$dir/r.out" | head -1)

for host in l r; do ip netns add "$net$host"; ip -n "$net$host" link set lo up; done
ip link add wire netns "${net}l" type veth peer name wire netns "${net}r"
ip -n "${net}l" addr add 10.0.1.1/24 dev wire
ip -n "${net}r" addr add 10.0.1.2/24 dev wire
for host in l r; do ip -n "$net$host" link set wire up; done
burst=$((RATE * 64))
[ "$burst" -ge 16384 ] || burst=16384
# Acknowledgements of what the senders send are not at stake: what is shorter than 128 bytes passes.
limit() { tc -n "${net}r" "$1" add dev wire "${@:2}"; }
limit qdisc root handle 1: htb default 2
limit class parent 1: classid 1:1 htb rate 10gbit quantum 1514
limit class parent 1: classid 1:2 htb rate "${RATE}mbit" burst "$burst" cburst "$burst" quantum 1514
limit qdisc parent 1:2 tbf rate "${RATE}mbit" burst "$burst" latency 400ms
limit filter parent 1: protocol ip u32 match u16 0 0xff80 at 2 flowid 1:1

measure() { # offer in percent of the rate, share
  printf '[node]\nname = "r"\nkeys = "r.keys"\n[listen]\nudp = []\ntls = ["10.0.1.2:42424"]\n[control]\nsocket = "%s"\n[limits]\nlower_share = %s\n' \
    "$dir/r.sock" "$2" >"$dir/r.toml"
  ip netns exec "${net}r" "$TRUNKLINE_DIR/trunkline" run --config "$dir/r.toml" 2>"$dir/r.log" &
  relay=$!
  until "$TRUNKLINE_DIR/trunkline" status --control "$dir/r.sock" >/dev/null 2>&1; do sleep 0.1; done
  local rate=$((RATE * 1000000 * $1 * 8 / 100 / SIZE / 8))
  printf '\neach priority offered %s %% of %s Mbit/s, lower_share = %s\n' "$1" "$RATE" "$2"
  ip netns exec "${net}l" "$TRUNKLINE_DIR/trunkline-load" --via "10.0.1.2:42424=$r" --senders 8 --group 1 \
    --priority 0:1,1:1,2:1,3:1,4:1,5:1,6:1,7:1 --rate "$rate" --size "$SIZE" --warm-up 2 \
    --duration "$SECONDS_" --keys "$dir/keys" --json 2>"$dir/load.log" >"$dir/load.json" ||
    { cat "$dir/load.log" "$dir/r.log" >&2; return 1; }
  python3 - "$SIZE" "$RATE" "$dir/load.json" <<'PYTHON'
import json, sys
size, rate = int(sys.argv[1]), float(sys.argv[2])
with open(sys.argv[3]) as lines:
    run = json.loads(lines.read().splitlines()[-1])
print("%-9s %8s %10s %10s %10s" % ("priority", "Mbit/s", "p50 ms", "p99 ms", "max ms"))
came = {p["priority"]: p for p in run["priorities"]}
for level in range(7, -1, -1):
    p = came.get(level)
    if not p:
        print("%-9d %8s %10s %10s %10s" % (level, "0", "-", "-", "-"))
        continue
    l = p["latency"]
    row = (level, p["delivered_per_s"] * size * 8 / 1e6, l["p50_us"] / 1e3, l["p99_us"] / 1e3, l["max_us"] / 1e3)
    print("%-9d %8.1f %10.1f %10.1f %10.1f" % row)
PYTHON
  kill "$relay"
  wait "$relay" 2>/dev/null || true
  relay=
}

measure 30 0
measure 110 0
measure 110 5
