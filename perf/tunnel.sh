#!/usr/bin/env bash
# What a TCP tunnel costs beside other programs that make one, all on loopback: the tunnel's processes,
# both ends, on one processor, the load and its target (perf/src/tunnel) on the other.
#
#   copy       one process that reads and writes 256 KiB at a time, nothing else
#   direct     two nodes with a line over UDP         relayed   the same over a node between, two TLS links
#   link       two nodes with a line over a TLS link
#   ssh        ssh -L with aes256-gcm, and sshd       rathole   its noise transport, server and client
#   haproxy    tcp mode, in the clear                 socat     one process a connection, in the clear
#
# In turn for ROUNDS rounds: bulk over 1 and 64 connections, and new connections (connect, a byte there
# and back, reset) one at a time and 16 at a time. Prints every figure, then medians. Programs that
# are not here are said to be missing.
#   perf/tunnel.sh [ROUNDS] [SECONDS]        (3 rounds of 3 seconds)
# BIN=target/release names where programs are that are built already, TRUNKLINE another node.
# CANDIDATES="direct ssh" and SHAPES="bulk:1 new:16" choose; TUNNEL_CPU and LOAD_CPU place; NICE=-15 (root)
# puts all of it before what else the machine does.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-3}
readonly TUNNEL_CPU=${TUNNEL_CPU:-1} LOAD_CPU=${LOAD_CPU:-0} NICE=${NICE:-0}
read -ra CANDIDATES <<<"${CANDIDATES:-copy direct link relayed ssh rathole haproxy socat}"
read -ra SHAPES <<<"${SHAPES:-bulk:1 bulk:64 new:1 new:16}"
readonly NEAR=127.0.0.1:17501 TARGET=127.0.0.1:17502
[ -n "${BIN:-}" ] || cargo build --release -q -p trunkline-tools -p trunkline-perf
readonly BIN=${BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release}
PATH=$BIN/../peers/bin:$PATH:/usr/sbin # where perf/peers.sh put what apt-get does not have
readonly TRUNKLINE=${TRUNKLINE:-$BIN/trunkline}
dir=$(mktemp -d)
pids=()
# Only what was started here is ended.
stop() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ ${#pids[@]} = 0 ] || wait "${pids[@]}" 2>/dev/null || true
  pids=()
}
trap 'stop; rm -rf "$dir"' EXIT

pinned() { # a program on the tunnel's processor, its output kept
  nice -n "$NICE" taskset -c "$TUNNEL_CPU" "$@" >>"$dir/log" 2>&1 </dev/null &
  pids+=($!)
}
declare -A hashname
node() { # name, UDP port or nothing, TLS port or nothing, more of the configuration
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[control]\nsocket = "%s.sock"\n[listen]\nudp = [%s]\ntls = [%s]\n%b' \
    "$1" "$1" "$dir/$1" "${2:+\"127.0.0.1:$2\"}" "${3:+\"127.0.0.1:$3\"}" "$4" >"$dir/$1.toml"
  pinned "$TRUNKLINE" run --config "$dir/$1.toml"
}
readonly ALLOW="[sock]\nallow = [\"$TARGET\"]\n"
proxy() { printf '[[proxy]]\nhashname = "%s"\ntarget = "%s"\nlisten = "%s"\n' "${hashname[b]}" "$TARGET" "$NEAR"; }
peer() { # name, UDP port, more
  printf '[[peer]]\nhashname = "%s"\nrecord_file = "%s.record"\naddresses = ["127.0.0.1:%s"]\n%b' "${hashname[$1]}" "$1" "$2" "${3:-}"
}
to() { printf '[[link]]\naddress = "127.0.0.1:%s"\nhashname = "%s"\n' "$2" "${hashname[$1]}"; } # name, port

start() {
  case $1 in
  copy) pinned "$BIN/tunnelload" copy "$NEAR" "$TARGET" ;;
  direct)
    node a 17511 '' "$(peer b 17512)\n$(proxy)\n"
    node b 17512 '' "$(peer a 17511)\n$ALLOW"
    ;;
  link)
    node b '' 17522 "$ALLOW"
    node a '' '' "$(to b 17522)\n$(proxy)\n"
    ;;
  relayed)
    node r '' 17533 ''
    node b '' '' "$(to r 17533)\n$ALLOW"
    node a '' '' "$(to r 17533)\n$(proxy)\n"
    ;;
  ssh)
    pinned /usr/sbin/sshd -D -f "$dir/sshd_config"
    sleep 0.3
    pinned ssh -N -F none -p 17541 -i "$dir/user" -o UserKnownHostsFile="$dir/known" -o StrictHostKeyChecking=no \
      -o ExitOnForwardFailure=yes -c aes256-gcm@openssh.com -L "$NEAR:$TARGET" root@127.0.0.1
    ;;
  rathole)
    pinned rathole --server "$dir/rathole-server.toml"
    pinned rathole --client "$dir/rathole-client.toml"
    ;;
  haproxy) pinned haproxy -f "$dir/haproxy.cfg" ;;
  socat) pinned socat "TCP-LISTEN:${NEAR##*:},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=512" "TCP:$TARGET,nodelay" ;;
  esac
}

is_here() {
  case $1 in
  copy | direct | link | relayed) ;;
  ssh) command -v ssh >/dev/null && [ -x /usr/sbin/sshd ] ;;
  *) command -v "$1" >/dev/null ;;
  esac
}

prepare() {
  for name in a b r; do
    "$TRUNKLINE" keys new --space tunnel --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
    hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
    "$TRUNKLINE" keys show "$dir/$name.keys" --record >"$dir/$name.record"
  done
  if is_here ssh; then
    ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
    mkdir -p /run/sshd
    printf '%s\n' 'ListenAddress 127.0.0.1' 'Port 17541' "HostKey $dir/host" "AuthorizedKeysFile $dir/user.pub" \
      'StrictModes no' 'UsePAM no' 'PermitRootLogin prohibit-password' "PidFile $dir/sshd.pid" >"$dir/sshd_config"
  fi
  if is_here rathole; then
    local keys private public
    keys=$(rathole --genkey)
    private=$(sed -n '/Private/{n;p}' <<<"$keys")
    public=$(sed -n '/Public/{n;p}' <<<"$keys")
    printf '[server]\nbind_addr = "127.0.0.1:17551"\ndefault_token = "t"\n[server.transport]\ntype = "noise"\n[server.transport.noise]\nlocal_private_key = "%s"\n[server.services.t]\nbind_addr = "%s"\nnodelay = true\n' "$private" "$NEAR" >"$dir/rathole-server.toml"
    printf '[client]\nremote_addr = "127.0.0.1:17551"\ndefault_token = "t"\n[client.transport]\ntype = "noise"\n[client.transport.noise]\nremote_public_key = "%s"\n[client.services.t]\nlocal_addr = "%s"\nnodelay = true\n' "$public" "$TARGET" >"$dir/rathole-client.toml"
  fi
  printf '%s\n' global 'maxconn 2000' defaults 'mode tcp' 'timeout connect 5s' 'timeout client 60s' 'timeout server 60s' \
    'listen t' "bind $NEAR" "server t $TARGET" >"$dir/haproxy.cfg"
}

load() { # shape
  local processes
  processes=$(IFS=,; echo "${pids[*]}")
  nice -n "$NICE" taskset -c "$LOAD_CPU" "$BIN/tunnelload" "${1%%:*}" --through "$NEAR" --target "$TARGET" --connections "${1##*:}" \
    --seconds "$2" --processes "$processes"
}
field() { python3 -c 'import json,sys; d=json.load(sys.stdin); print(*(f"{d[k]:.4g}" for k in sys.argv[1:]))' "$@"; }
median() { sort -g | awk '{v[NR]=$1} END {print NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }
ready() { # until a connection through the tunnel comes back
  for _ in $(seq 40); do
    [ "$(load new:1 0.1 2>/dev/null | field made_s 2>/dev/null || echo 0)" = 0 ] || return 0
    sleep 0.2
  done
  echo "$1 does not come up:" >&2
  tail -n 5 "$dir/log" >&2
  return 1
}

prepare
present=()
for candidate in "${CANDIDATES[@]}"; do
  if is_here "$candidate"; then present+=("$candidate"); else echo "MISSING: $candidate is not installed here"; fi
done
printf '%-32s %10s %12s %6s %8s %10s\n' run rate 'cpu a unit' busy failed MiB
for round in $(seq "$ROUNDS"); do
  for candidate in "${present[@]}"; do
    start "$candidate"
    ready "$candidate"
    for shape in "${SHAPES[@]}"; do
      case $shape in
      bulk:*) fields="gbit_s cpu_s_per_gib" ;;
      new:*) fields="made_s cpu_ms_each" ;;
      esac
      # shellcheck disable=SC2086
      read -r rate cost busy failed mib < <(load "$shape" "$SECONDS_EACH" | field $fields busy failed resident_mib)
      echo "$rate" >>"$dir/rate-$candidate-$shape"
      echo "$cost" >>"$dir/cost-$candidate-$shape"
      printf '%-32s %10s %12s %6s %8s %10s\n' "$round $candidate $shape" "$rate" "$cost" "$busy" "$failed" "$mib"
    done
    stop
  done
done
printf '\n| tunnel |'; printf ' %s: rate | cpu |' "${SHAPES[@]}"
printf '\n| --- |'; for _ in "${SHAPES[@]}"; do printf ' ---: | ---: |'; done
for candidate in "${present[@]}"; do
  printf '\n| %s |' "$candidate"
  for shape in "${SHAPES[@]}"; do
    printf ' %s | %s |' "$(median <"$dir/rate-$candidate-$shape")" "$(median <"$dir/cost-$candidate-$shape")"
  done
done
echo
