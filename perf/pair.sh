# Sourced by scripts that need two guests behind NATs of their own who know nothing of each other
# but their hashnames, and a public node that introduces them, in namespaces of their own:
#
#   a ── NAT ── net ── NAT ── b        a: [gateway] at 127.0.0.1:8480, where `wiki` is b
#                │                     b: [http] backend 127.0.0.1:8080, and the web server there
#                v                     v: [mesh] spacer
#
# Everything is removed at the end of the script. Needs root, ip, nft and python3.
# TRUNKLINE names the program; without it, a release is built.

for program in ip nft python3; do
  command -v "$program" >/dev/null || { echo "SKIPPED: no $program here; apt-get install -y iproute2 nftables python3" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "SKIPPED: network namespaces need root" >&2; exit 2; }
if [ -z "${TRUNKLINE:-}" ]; then
  cargo build --release -q -p trunkline-tools --bin trunkline
  TRUNKLINE=${CARGO_TARGET_DIR:-$PWD/target}/release/trunkline
fi
readonly HERE=$PWD/perf
readonly WIKI=127.0.0.1:8480
dir=$(mktemp -d)
net=tlpair$$
declare -A hashname pid
hosts=(a nata net natb b v)

finish() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  for host in "${hosts[@]}"; do ip netns del "$net$host" 2>/dev/null || true; done
  pid=()
}
trap 'finish; rm -rf "$dir"' EXIT

in_background() { exec ip netns exec "$net$1" "${@:2}"; } # the process itself, so that it can be ended
inside() { ip netns exec "$net$1" timeout -k 1 "${PATIENCE:-60}" "${@:2}"; }
# Asks again until it is so, for half a minute at most.
until_so() {
  local end=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "waited in vain for: $*" >&2; tail -n 5 "$dir"/*.log >&2; exit 1; }
    sleep 0.05
  done
}
ask() { "$TRUNKLINE" "$2" "${@:3}" --control "$dir/$1.sock"; } # who, command, arguments
# The way a guest's packets to the other take: "direct …" or "bridge …".
way() {
  local other=b
  [ "$1" = a ] || other=a
  ask "$1" why "${hashname[$other]}" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["way"])'
}
goes() { [[ "$(way "$1")" == "$2"* ]]; }

link() { # host, address, host, address; the devices are called after the host they lead to
  ip link add "to$3" netns "$net$1" type veth peer name "to$1" netns "$net$3"
  ip -n "$net$1" addr add "$2/24" dev "to$3"
  ip -n "$net$3" addr add "$4/24" dev "to$1"
  ip -n "$net$1" link set "to$3" up
  ip -n "$net$3" link set "to$1" up
}

nat() { # host, kind
  local how=masquerade
  [ "$2" != symmetric ] || how='masquerade random,fully-random'
  ip netns exec "$net$1" nft -f - <<NFT
table ip gate {
  chain out { type nat hook postrouting priority 100; oifname "tonet" $how; }
  chain guard { type filter hook input priority 0; iifname "tonet" ct state new drop; }
}
NFT
}

node() { # name, more of the configuration
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[control]\nsocket = "%s.sock"\n%b' "$1" "$1" "$dir/$1" "$2" >"$dir/$1.toml"
  "$TRUNKLINE" check --config "$dir/$1.toml" >"$dir/$1.check" 2>&1 || { cat "$dir/$1.check" >&2; exit 1; }
  in_background "$1" "$TRUNKLINE" run --config "$dir/$1.toml" 2>"$dir/$1.log" &
  pid[$1]=$!
}

set_up() { # kind of a's NAT, kind of b's: port or symmetric
  for host in "${hosts[@]}"; do
    ip netns add "$net$host"
    ip -n "$net$host" link set lo up
    ip netns exec "$net$host" sysctl -qw net.ipv4.ip_forward=1
    # No link-local addresses: they are usable a second or two after their device, and a browser that
    # sees an address come gives up the requests it has under way (ERR_NETWORK_CHANGED).
    ip netns exec "$net$host" sysctl -qw net.ipv6.conf.default.addr_gen_mode=1 2>/dev/null || true
  done
  link nata 192.168.7.1 a 192.168.7.2
  link natb 192.168.7.1 b 192.168.7.2
  link net 198.51.100.1 nata 198.51.100.2
  link net 203.0.113.1 natb 203.0.113.2
  link net 192.0.2.1 v 192.0.2.2
  ip -n "${net}a" route add default via 192.168.7.1
  ip -n "${net}b" route add default via 192.168.7.1
  ip -n "${net}nata" route add default via 198.51.100.1
  ip -n "${net}natb" route add default via 203.0.113.1
  ip -n "${net}v" route add default via 192.0.2.1
  nat nata "$1"
  nat natb "$2"
  for name in a b v; do
    [ -f "$dir/$name.keys" ] || "$TRUNKLINE" keys new --space pair --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
    hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
  done
  rm -f "$dir/report"
  in_background b python3 "$HERE/web.py" 8080 "$HERE/page" "$dir/report" 2>"$dir/web.log" &
  local guest="[listen]\nudp = [\"0.0.0.0:0\"]\ntls = []\n[[peer]]\nhashname = \"${hashname[v]}\"\naddresses = [\"192.0.2.2\"]\nintroducer = true\n"
  node v '[mesh]\nspacer = true\n'
  node a "${guest}[gateway]\nlisten = \"$WIKI\"\n[gateway.names]\nwiki = \"${hashname[b]}\"\n"
  node b "${guest}[http]\nbackend = \"127.0.0.1:8080\"\n"
  local way=direct
  [ "$1$2" = portport ] || way=bridge
  until_so inside b python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080))'
  until_so ask a ping "${hashname[b]}" --count 1 --timeout 2s
  until_so goes a "$way"
  until_so goes b "$way"
}
