#!/usr/bin/env bash
# What an HTTP request of 1 KiB costs on its way to a web server behind another node, beside proxies that
# stand alone and in the clear. All on loopback: proxies, or both nodes, on one processor; wrk with 16
# connections that are kept and the web server (nginx) on another.
#
#   straight   wrk to the web server             haproxy, nginx   reverse proxies, connections kept both ways
#   tunnel     a port of a node that leads to the web server behind the other: connections are kept
#   gateway    the browser's way: a node's gateway, the other node's [http]: connections are kept, too
#
# Nodes have a TLS link to each other. In turn for ROUNDS rounds; prints requests a second, processor
# microseconds a request of what stands between, how busy that was, and the 50th and 99th percentile.
# Needs wrk, nginx, curl and python3; haproxy is said to be missing if it is.
#   perf/requests.sh [ROUNDS] [SECONDS]        (3 rounds of 3 seconds)
# CANDIDATES="tunnel haproxy" chooses; TRUNKLINE names a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-3}
readonly PROXY_CPU=${PROXY_CPU:-1} LOAD_CPU=${LOAD_CPU:-0}
read -ra CANDIDATES <<<"${CANDIDATES:-straight haproxy nginx tunnel gateway}"
PATH=$PATH:/usr/sbin
if [ -z "${TRUNKLINE:-}" ]; then
  cargo build --release -q -p trunkline-tools
  TRUNKLINE=${CARGO_TARGET_DIR:-$PWD/target}/release/trunkline
fi
for program in wrk nginx curl python3; do
  command -v $program >/dev/null || { echo "perf/requests.sh: $program is missing: apt-get install $program" >&2; exit 1; }
done
dir=$(mktemp -d)
server='' pids=()
stop() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ ${#pids[@]} = 0 ] || wait "${pids[@]}" 2>/dev/null || true
  pids=()
}
trap 'stop; [ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
# Ports that nobody has at this moment.
read -r WEB NEAR LINK < <(python3 -c 'import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(x.getsockname()[1] for x in s))')
readonly WEB NEAR LINK

pinned() {
  taskset -c "$PROXY_CPU" "$@" >>"$dir/log" 2>&1 </dev/null &
  pids+=($!)
}
nginx_conf() { # name, what its http block says
  printf 'daemon off; worker_processes 1; master_process off; pid %s/%s.pid; error_log %s/%s.log;\nevents { worker_connections 1024; }\nhttp { access_log off; keepalive_requests 1000000000; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n%s\n}\n' \
    "$dir" "$1" "$dir" "$1" "$dir" "$dir" "$dir" "$dir" "$dir" "$2" >"$dir/$1.conf"
}
declare -A hashname
prepare() {
  mkdir "$dir/www"
  head -c 1024 /dev/zero | tr '\0' x >"$dir/www/page"
  chmod -R a+rX "$dir"
  nginx_conf web "server { listen 127.0.0.1:$WEB backlog=1024; root $dir/www; }"
  nginx_conf proxy "upstream web { server 127.0.0.1:$WEB; keepalive 64; keepalive_requests 1000000000; }
server { listen 127.0.0.1:$NEAR; location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }"
  printf '%s\n' global 'maxconn 2000' defaults 'mode http' 'timeout connect 5s' 'timeout client 60s' 'timeout server 60s' \
    'http-reuse always' 'listen t' "bind 127.0.0.1:$NEAR" "server t 127.0.0.1:$WEB" >"$dir/haproxy.cfg"
  for name in a b; do
    "$TRUNKLINE" keys new --space requests --out "$dir/$name.keys" >"$dir/$name.out" 2>&1
    hashname[$name]=$(grep -oE '[0-9a-f]{64}' "$dir/$name.out" | head -1)
  done
  local of_a="[[link]]\naddress = \"127.0.0.1:$LINK\"\nhashname = \"${hashname[b]}\"\n"
  local way="[[proxy]]\nhashname = \"${hashname[b]}\"\ntarget = \"127.0.0.1:$WEB\"\nlisten = \"127.0.0.1:$NEAR\"\n"
  local names="[gateway]\nlisten = \"127.0.0.1:$NEAR\"\n[gateway.names]\nweb = \"${hashname[b]}\"\n"
  node tunnel-b b "tls = [\"127.0.0.1:$LINK\"]" "[sock]\nallow = [\"127.0.0.1:$WEB\"]\n"
  node tunnel-a a 'tls = []' "$of_a$way"
  node gateway-b b "tls = [\"127.0.0.1:$LINK\"]" "[http]\nbackend = \"127.0.0.1:$WEB\"\n"
  node gateway-a a 'tls = []' "$of_a$names"
}
node() { # file, name, what it listens for, more
  printf '[node]\nname = "%s"\nkeys = "%s.keys"\n[control]\nsocket = "%s.sock"\n[listen]\nudp = []\n%s\n%b' \
    "$2" "$2" "$dir/$1" "$3" "$4" >"$dir/$1.toml"
}
start() {
  case $1 in
  straight) ;;
  haproxy) pinned haproxy -f "$dir/haproxy.cfg" ;;
  nginx) pinned nginx -p "$dir" -c "$dir/proxy.conf" ;;
  tunnel | gateway)
    pinned "$TRUNKLINE" run --config "$dir/$1-b.toml"
    pinned "$TRUNKLINE" run --config "$dir/$1-a.toml"
    ;;
  esac
}
port() { [ "$1" = straight ] && echo "$WEB" || echo "$NEAR"; }
ready() {
  for _ in $(seq 100); do
    ! curl -sf -o /dev/null -H 'Host: web.localhost' "http://127.0.0.1:$(port "$1")/page" || return 0
    sleep 0.1
  done
  echo "$1 does not come up:" >&2
  tail -n 5 "$dir/log" >&2
  return 1
}
ticks() { # of what stands between, user and system
  local sum=0 pid
  for pid in ${pids[@]+"${pids[@]}"}; do sum=$((sum + $(awk '{print $14 + $15}' "/proc/$pid/stat"))); done
  echo "$sum"
}

prepare
taskset -c "$LOAD_CPU" nginx -p "$dir" -c "$dir/web.conf" >>"$dir/log" 2>&1 &
server=$!
present=()
for candidate in "${CANDIDATES[@]}"; do
  if [ "$candidate" != haproxy ] || command -v haproxy >/dev/null; then present+=("$candidate"); else echo "MISSING: $candidate is not installed here"; fi
done
printf '%-14s %12s %14s %8s %22s %8s\n' run 'requests/s' 'cpu-µs each' 'busy, %' 'p50, p99' failed
for round in $(seq "$ROUNDS"); do
  for candidate in "${present[@]}"; do
    start "$candidate"
    ready "$candidate"
    before=$(ticks)
    taskset -c "$LOAD_CPU" wrk -t1 -c16 -d"${SECONDS_EACH}s" --latency -H 'Host: web.localhost' \
      "http://127.0.0.1:$(port "$candidate")/page" >"$dir/wrk"
    after=$(ticks)
    stop
    python3 - "$round $candidate" "$dir/wrk" $((after - before)) "$(getconf CLK_TCK)" <<'PY' | tee -a "$dir/figures"
import re, sys
run, text, ticks = sys.argv[1], open(sys.argv[2]).read(), int(sys.argv[3]) / int(sys.argv[4])
count, seconds = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
percent = lambda n: re.search(rf"{n}% +(\S+)", text)[1]
bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
errors = re.search(r"Socket errors: (.*)", text)
failed = (bad[1] if bad else "0") + (f" ({errors[1]})" if errors else "")
print("%-14s %12.0f %14.1f %8.0f %22s %8s" % (run, int(count) / float(seconds), ticks * 1e6 / int(count),
      100 * ticks / float(seconds), f"{percent(50)}, {percent(99)}", failed))
PY
  done
done
