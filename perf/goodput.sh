#!/usr/bin/env bash
# One stream's goodput over a path of 100 Mbit/s and a round trip of 50 ms that loses packets both
# ways, in namespaces of its own:
#
#   a ── trunkline-wire: 25 ms each way, 100 Mbit/s, a queue of one bandwidth-delay product ── b
#
# A tunnel between two nodes with a direct line, kernel TCP with CUBIC and with BBR, and quinn with
# CUBIC, in turn on the same wire: bytes that reach the receiver within SECONDS of the first.
# Prints every figure, then medians in Mbit/s. Needs root, ip and python3.
#   perf/goodput.sh [ROUNDS] [SECONDS] [LOSS ...]        (3 rounds of 10 s; 0% 0.1% 1% 5%)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-10}
readonly LOSSES=("${@:3}")
read -ra CANDIDATES <<<"${CANDIDATES:-trunkline tcp-cubic tcp-bbr quinn-cubic}"
cargo build --release -q -p trunkline-tools
cargo build --release -q --manifest-path perf/quinn/Cargo.toml
readonly BIN=${CARGO_TARGET_DIR:-$PWD/target}/release
readonly QUINN=${CARGO_TARGET_DIR:-$PWD/perf/quinn/target}/release/quinnbulk
dir=$(mktemp -d)
net=tlgood$$
finish() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  for host in a b; do ip netns del "$net$host" 2>/dev/null || true; done
}
trap 'finish; rm -rf "$dir"' EXIT

inside() { ip netns exec "$net$1" timeout -k 1 $((SECONDS_EACH + 20)) "${@:2}"; }
in_background() { exec ip netns exec "$net$1" "${@:2}"; } # the process itself, so that it can be ended
retry() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; return 1; }

node() { # name, address of the other, more of the configuration
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[listen]\nudp = ["0.0.0.0:42424"]\ntls = []\n' "$1" "$1" >"$dir/$1.toml"
  printf '[control]\nsocket = "%s.sock"\n[[peer]]\nhashname = "%s"\nrecord_file = "%s.record"\n' \
    "$dir/$1" "${hashname[$3]}" "$3" >>"$dir/$1.toml"
  printf 'addresses = ["%s:42424"]\n[sock]\nallow = ["127.0.0.1:8080"]\n' "$2" >>"$dir/$1.toml"
  in_background "$1" "$BIN/trunkline" run --config "$dir/$1.toml" 2>"$dir/$1.log" &
  tunnel+=($!)
}
# Nodes are started anew for each run: a line remembers its path, and TCP and quinn do not.
open_tunnel() {
  tunnel=()
  node a 10.0.9.2 b
  node b 10.0.9.1 a
  retry "$BIN/trunkline" ping "${hashname[b]}" --control "$dir/a.sock" --count 1 --timeout 500ms
  in_background a "$BIN/trunkline" proxy "${hashname[b]}" 127.0.0.1:8080 --listen 127.0.0.1:9090 \
    --control "$dir/a.sock" >/dev/null 2>&1 &
  tunnel+=($!)
}
close_tunnel() {
  kill "${tunnel[@]}" 2>/dev/null || true
  wait "${tunnel[@]}" 2>/dev/null || true
}

cat >"$dir/tcp.py" <<'PY'
import socket, sys, time
role, address, port, seconds, congestion = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
if role == "receive":
    server = socket.create_server((address, port))
    server.settimeout(15)
    connection, _ = server.accept()
    connection.settimeout(1)
    buffer = bytearray(1 << 18)
    total = connection.recv_into(buffer)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try: read = connection.recv_into(buffer)
        except TimeoutError: continue
        if not read: break
        if time.monotonic() < end: total += read
    print(total)
else:
    for _ in range(100):
        s = socket.socket()
        if congestion != "-": s.setsockopt(socket.IPPROTO_TCP, 13, congestion.encode())
        try: s.connect((address, port)); break
        except OSError: time.sleep(0.1)
    zeros, end = bytes(1 << 18), time.monotonic() + seconds + 5
    try:
        while time.monotonic() < end: s.sendall(zeros)
    except OSError: pass
PY

measure() { # candidate: prints the bytes
  local receiver
  case $1 in
  trunkline)
    open_tunnel
    set -- 127.0.0.1 8080 127.0.0.1 9090 -
    ;;
  tcp-*) set -- 10.0.9.2 5201 10.0.9.2 5201 "${1#tcp-}" ;;
  quinn-*)
    (cd "$dir" && inside b "$QUINN" receive 10.0.9.2:4433 "$SECONDS_EACH" >"$dir/bytes" 2>"$dir/quinn.log") &
    receiver=$!
    sleep 0.5
    (cd "$dir" && inside a "$QUINN" send 10.0.9.2:4433 "$SECONDS_EACH" "${1#quinn-}" 2>>"$dir/quinn.log") || true
    wait "$receiver" || true
    return
    ;;
  esac
  inside b python3 "$dir/tcp.py" receive "$1" "$2" "$SECONDS_EACH" - >"$dir/bytes" &
  receiver=$!
  sleep 0.5
  inside a python3 "$dir/tcp.py" send "$3" "$4" "$SECONDS_EACH" "$5" || true
  wait "$receiver" || true
  [ "$5" != - ] || close_tunnel
}

path() { # loss
  for host in a b; do
    ip netns add "$net$host"
    ip -n "$net$host" link set lo up
    # Nor may TCP take the window of the last run for a start.
    ip netns exec "$net$host" sysctl -qw net.ipv4.tcp_no_metrics_save=1
  done
  "$BIN/trunkline-wire" --a wirea --b wireb --netns-a "${net}a" --netns-b "${net}b" --delay 25ms \
    --rate 100mbit --queue 625000 --loss "$1" --seed "$RANDOM" --seconds 3600 >/dev/null 2>"$dir/wire.log" &
  retry ip -n "${net}b" link show wireb
  for end in a:10.0.9.1 b:10.0.9.2; do
    ip -n "$net${end%%:*}" addr add "${end#*:}/24" dev "wire${end%%:*}"
    ip -n "$net${end%%:*}" link set "wire${end%%:*}" up
  done
  for round in $(seq "$ROUNDS"); do
    for candidate in "${CANDIDATES[@]}"; do
      measure "$candidate"
      rate=$(awk -v s="$SECONDS_EACH" '{printf "%.2f", $1 * 8 / s / 1e6}' "$dir/bytes")
      echo "${rate:-0}" >>"$dir/$candidate@$1"
      printf 'loss %s, round %s, %s: %s Mbit/s\n' "$1" "$round" "$candidate" "$rate"
      sleep 1
    done
  done
  finish
}

declare -A hashname
for name in a b; do
  "$BIN/trunkline" keys new --space goodput --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
  hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
  "$BIN/trunkline" keys show "$dir/$name.keys" --record >"$dir/$name.record"
done
losses=("${LOSSES[@]:-}")
[ -n "${losses[0]}" ] || losses=(0% 0.1% 1% 5%)
for loss in "${losses[@]}"; do path "$loss"; done

median() { sort -g | awk '{v[NR]=$1} END {print NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }
printf '\n| loss |'; printf ' %s |' "${CANDIDATES[@]}"
printf '\n| --- |'; printf ' ---: |%.0s' "${CANDIDATES[@]}"
for loss in "${losses[@]}"; do
  printf '\n| %s |' "$loss"
  for candidate in "${CANDIDATES[@]}"; do printf ' %.1f |' "$(median <"$dir/$candidate@$loss")"; done
done
echo
