#!/usr/bin/env bash
# What forwarding messages of 300 and 1,200 bytes costs a relay, beside a plain TCP copy of the
# same frames, in turn on the same processors: the relay or the copy on one, everything else on
# the other. Prints every round, then medians of processor seconds per million and their ratio.
#   perf/forward.sh [ROUNDS] [SECONDS]        (3 rounds of 3 seconds)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-3} SECONDS_EACH=${2:-3}
readonly RELAY_CPU=${RELAY_CPU:-1} LOAD_CPU=${LOAD_CPU:-0}
# size, messages in a write of the sender, window, most processor seconds per million
readonly SHAPES=("300 64 4096 0.25" "1200 32 1024 0.7" "300 1 1024 1.2")
readonly BIN=${CARGO_TARGET_DIR:-target}/release

cargo build --release -q -p trunkline-tools -p trunkline-perf
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

field() { python3 -c 'import json,sys; print(eval("json.load(sys.stdin)" + sys.argv[1]))' "$1"; }
median() { sort -g | awk '{v[NR]=$1} END {print NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

printf '%-28s %10s %10s %12s %6s %6s\n' shape copy relay 'relay msg/s' busy ratio
for round in $(seq "$ROUNDS"); do
  for shape in "${SHAPES[@]}"; do
    read -r size group window aim <<<"$shape"
    name="$size B, $group a write"
    copy=$(taskset -c "$LOAD_CPU" "$BIN/tcpcopy" --pin-copy "$RELAY_CPU" --size "$size" \
      --group "$group" --window "$window" --seconds "$SECONDS_EACH" | field '["cpu_s_per_million"]')
    relay=$("$BIN/trunkline-load" --hops 1 --transport plain --size "$size" --group "$group" \
      --window "$window" --duration "$SECONDS_EACH" --warm-up 0.5 --keys "$results/keys" \
      --pin-relay "$RELAY_CPU" --pin-load "$LOAD_CPU" --json)
    cost=$(field '["processes"][0]["cpu_s_per_million"]' <<<"$relay")
    echo "$copy" >>"$results/copy-$size-$group"
    echo "$cost" >>"$results/relay-$size-$group"
    printf '%-28s %10.3f %10.3f %12.0f %5.0f%% %6.2f\n' "$name, round $round" "$copy" "$cost" \
      "$(field '["delivered_per_s"]' <<<"$relay")" \
      "$(field '["processes"][0]["busy"] * 100' <<<"$relay")" \
      "$(python3 -c "print($cost / $copy)")"
  done
done
echo
printf '%-28s %10s %10s %6s %8s\n' 'median cpu-s/M' copy relay ratio aim
for shape in "${SHAPES[@]}"; do
  read -r size group window aim <<<"$shape"
  copy=$(median <"$results/copy-$size-$group")
  cost=$(median <"$results/relay-$size-$group")
  printf '%-28s %10.3f %10.3f %6.2f %8s\n' "$size B, $group a write" "$copy" "$cost" \
    "$(python3 -c "print($cost / $copy)")" "<= $aim"
done
