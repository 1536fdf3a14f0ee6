#!/usr/bin/env bash
# What the node between two others costs, beside yggdrasil's, in namespaces of their own:
#
#   a ── veth ── r ── veth ── b      r, which has the only way, alone on one processor; the ends on another
#
# Bulk is one TCP connection of iperf3 from a to b: through yggdrasil's network device, or through a
# tunnel of ours. Small ones are 300 bytes at a steady rate: UDP through the device; messages sealed from
# end to end over one relay and TLS links (trunkline-load, loopback), one a write. All links are
# encrypted, and what they carry is again. Medians of ROUNDS rounds in turn; processor seconds are those of
# r, user and system. Needs root, ip, iperf3, python3 and yggdrasil (perf/peers.sh yggdrasil).
#   perf/overlay.sh [ROUNDS] [SECONDS] [RATE ...]        (3 3 10000 20000)
# BIN=target/release names where programs are that are built already.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-3} BETWEEN_CPU=${BETWEEN_CPU:-1} ENDS_CPU=${ENDS_CPU:-0}
shift $(($# > 2 ? 2 : $#))
[ $# -gt 0 ] || set -- 10000 20000
readonly RATES=("$@")
[ -n "${BIN:-}" ] || cargo build --release -q -p trunkline-tools
readonly BIN=${BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release}
for program in ip iperf3 python3; do
  command -v $program >/dev/null || { echo "perf/overlay.sh: $program is missing" >&2; exit 1; }
done
candidates=(trunkline)
PATH=$PATH:/usr/sbin
if command -v yggdrasil >/dev/null; then candidates+=(yggdrasil); else echo "MISSING: yggdrasil is not installed here" >&2; fi
dir=$(mktemp -d)
net=tloverlay$$
stop() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
}
finish() {
  stop
  for host in a r b; do ip netns del "$net$host" 2>/dev/null || true; done
}
trap 'finish; rm -rf "$dir"' EXIT

on() { # host, command: the process itself, so that it can be ended
  local cpu=$ENDS_CPU
  [ "$1" != r ] || cpu=$BETWEEN_CPU
  exec ip netns exec "$net$1" taskset -c "$cpu" "${@:2}"
}
wire() {
  for host in a r b; do ip netns add "$net$host"; ip -n "$net$host" link set lo up; done
  for end in a:1 b:2; do
    ip link add eth0 netns "$net${end%:*}" type veth peer name "to${end%:*}" netns "${net}r"
    ip -n "$net${end%:*}" addr add "10.0.${end#*:}.1/24" dev eth0
    ip -n "${net}r" addr add "10.0.${end#*:}.2/24" dev "to${end%:*}"
    ip -n "$net${end%:*}" link set eth0 up
    ip -n "${net}r" link set "to${end%:*}" up
  done
}

declare -A hashname
start_trunkline() {
  local name more
  for name in a r b; do
    [ -e "$dir/$name.keys" ] || "$BIN/trunkline" keys new --space overlay --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
    hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
  done
  for name in r b a; do
    case $name in
    r) more='' ;;
    b) more="[[link]]\naddress = \"10.0.2.2:42424\"\nhashname = \"${hashname[r]}\"\n[sock]\nallow = [\"127.0.0.1:5201\"]\n" ;;
    a) more="[[link]]\naddress = \"10.0.1.2:42424\"\nhashname = \"${hashname[r]}\"\n[[proxy]]\nhashname = \"${hashname[b]}\"\ntarget = \"127.0.0.1:5201\"\nlisten = \"127.0.0.1:5201\"\n" ;;
    esac
    printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[listen]\nudp = []\ntls = ["0.0.0.0:42424"]\n[control]\nsocket = "%s.sock"\n%b' \
      "$name" "$name" "$dir/$name" "$more" >"$dir/$name.toml"
    on "$name" "$BIN/trunkline" run --config "$dir/$name.toml" 2>>"$dir/log" &
    [ $name != r ] || between=$!
  done
  server=127.0.0.1
}
start_yggdrasil() {
  local name
  for name in r a b; do
    yggdrasil -genconf -json | python3 -c 'import json, sys
c = json.load(sys.stdin)
name = sys.argv[1]
c["Listen"] = ["tls://0.0.0.0:9001"] if name == "r" else []
c["Peers"] = {"a": ["tls://10.0.1.2:9001"], "b": ["tls://10.0.2.2:9001"]}.get(name, [])
c["MulticastInterfaces"], c["AdminListen"], c["IfName"] = [], "none", "ygg0"
json.dump(c, sys.stdout)' "$name" >"$dir/$name.conf"
    on "$name" yggdrasil -useconffile "$dir/$name.conf" >>"$dir/log" 2>&1 &
    [ $name != r ] || between=$!
  done
  server=$(yggdrasil -useconffile "$dir/b.conf" -address)
}

ticks() { awk '{print $14 + $15}' "/proc/$between/stat"; }
# An iperf3 client: its JSON, and what r spent on it.
load() { # arguments
  local before after
  before=$(ticks)
  ip netns exec "${net}a" taskset -c "$ENDS_CPU" iperf3 -c "$server" -J -t "$SECONDS_EACH" "$@" >"$dir/json" 2>>"$dir/log" || return 1
  after=$(ticks)
  python3 -c 'import json, os, sys
end = json.load(open(sys.argv[1]))["end"]
cpu = int(sys.argv[2]) / os.sysconf("SC_CLK_TCK")
if "sum_received" in end and "packets" not in end.get("sum", {}):
    got = end["sum_received"]
    print("%.2f %.3f" % (got["bits_per_second"] / 1e9, cpu / (got["bytes"] / 2**30)))
else:
    got = end["sum"]["packets"] - end["sum"]["lost_packets"]
    print("%.0f %.2f" % (got / end["sum"]["seconds"], cpu / got * 1e6))' "$dir/json" $((after - before))
}
note() { # candidate, work, rate, cost
  echo "$3" >>"$dir/rate-$1-$2"
  echo "$4" >>"$dir/cost-$1-$2"
  printf '%-24s %12s %14s\n' "$round $1 $2" "$3" "$4"
}
median() { sort -g | awk '{v[NR]=$1} END {print NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

small_of_ours() { # rate
  "$BIN/trunkline-load" --size 300 --pairs 1 --group 1 --hops 1 --transport tls --kind sealed --rate "$1" --warm-up 0.7 \
    --duration "$SECONDS_EACH" --pin-relay "$BETWEEN_CPU" --pin-load "$ENDS_CPU" --json 2>>"$dir/log" | python3 -c 'import json, sys
d = json.load(sys.stdin)
relay = next(p for p in d["processes"] if p["name"] == "relay 1")
print("%.0f %.2f" % (d["delivered_per_s"], relay["cpu_s_per_million"]))'
}

wire
printf '%-24s %12s %14s\n' run rate 'cpu of r'
for round in $(seq "$ROUNDS"); do
  for candidate in "${candidates[@]}"; do
    on b iperf3 -s >/dev/null 2>&1 &
    "start_$candidate"
    for _ in $(seq 50); do
      ip netns exec "${net}a" iperf3 -c "$server" -n 1K >/dev/null 2>&1 && break
      sleep 0.2
    done
    read -r rate cost < <(load) || { echo "$candidate does not come up:" >&2; tail -n 5 "$dir/log" >&2; exit 1; }
    note "$candidate" bulk "$rate" "$cost"
    if [ "$candidate" = yggdrasil ]; then
      for each in "${RATES[@]}"; do
        read -r rate cost < <(load -u -l 300 --pacing-timer 20 -b $((each * 2400))) || continue
        note "$candidate" "$each" "$rate" "$cost"
      done
    fi
    stop
    if [ "$candidate" = trunkline ]; then
      for each in "${RATES[@]}"; do
        read -r rate cost < <(small_of_ours "$each")
        note "$candidate" "$each" "$rate" "$cost"
      done
    fi
  done
done
printf '\n| node between | Gbit/s | CPU-s per GiB |'; printf ' 300 B, %s/s: received | CPU-s per million |' "${RATES[@]}"
printf '\n| --- | ---: | ---: |'; printf ' ---: | ---: |%.0s' "${RATES[@]}"
for candidate in "${candidates[@]}"; do
  printf '\n| %s |' "$candidate"
  for work in bulk "${RATES[@]}"; do
    if [ -e "$dir/rate-$candidate-${work}" ]; then
      printf ' %s | %s |' "$(median <"$dir/rate-$candidate-$work")" "$(median <"$dir/cost-$candidate-$work")"
    else
      printf ' - | - |'
    fi
  done
done
echo
