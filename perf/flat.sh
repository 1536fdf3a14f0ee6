#!/usr/bin/env bash
# Whether a message costs a relay the same however many links it has: processor seconds per million and
# resident memory with 2, 10, 100 and 1,000 links, flat out and at 5,000 messages a second over all of them.
# The relay is alone on one processor; bare links, 300 bytes, plain. Medians of ROUNDS rounds; keys are made
# once and kept, which takes minutes for 1,000 of them.
#   perf/flat.sh [ROUNDS] [SECONDS]        (3 rounds of 2 seconds)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-2}
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
[ -n "${LOAD:-}" ] || cargo build --release -q -p trunkline-tools
readonly LOAD=${LOAD:-$TARGET/release/trunkline-load}
mkdir -p "$TARGET/peers/keys"

run() { # pairs, more
  "$LOAD" --bare --json --keys "$TARGET/peers/keys" --hops 1 --transport plain --size 300 --pairs "$1" \
    --pin-relay 1 --pin-load 0 --warm-up 1 --duration "$SECONDS_EACH" "${@:2}"
}
printf '%-8s %-14s %14s %14s %8s %8s\n' links load 'cpu-s/million' messages/s MiB lost
for pairs in 1 5 50 500; do
  window=$((1024 / pairs))
  [ "$window" -ge 16 ] || window=16
  for load in "flat out:--group 8 --window $window" "5,000/s:--group 1 --rate 5000"; do
    read -ra arguments <<<"${load#*:}"
    for _ in $(seq "$ROUNDS"); do run "$pairs" "${arguments[@]}"; done |
      python3 -c 'import json, statistics, sys
runs = [json.loads(line) for line in sys.stdin if line.strip()]
relay = [r["processes"][0] for r in runs]
middle = statistics.median
print("%-8s %-14s %14.3g %14.0f %8.1f %8d" % (sys.argv[1], sys.argv[2], middle(p["cpu_s_per_million"] for p in relay),
      middle(r["delivered_per_s"] for r in runs), middle(p["rss_bytes"] for p in relay) / 2**20, sum(r["lost"] for r in runs)))' \
        $((2 * pairs)) "${load%%:*}"
  done
done
