#!/usr/bin/env bash
# How many instructions the hot rooms take for a message, by callgrind: the same on every machine that
# runs the same build, whatever else it does. Each room runs N times and 2 N times; the difference is
# what N times cost, without what making keys and links does. Needs valgrind.
#   perf/instructions.sh [ROOM ...]        (all; FUNCTIONS=12 also lists where they go)
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "SKIPPED: no valgrind here; apt-get install -y valgrind" >&2; exit 2; }
cargo build --release -q -p trunkline-bench --bin rooms
readonly ROOMS=${CARGO_TARGET_DIR:-target}/release/rooms
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# room, times a run, messages each time, most instructions a message (perf/BUDGET.md)
readonly ALL=("forward 400 64 BUDGET" "forward-large 400 64 BUDGET" "forward-apart 400 64 BUDGET"
  "forward-one 4000 1 BUDGET" "line 100 64 BUDGET" "gate 4000 1 BUDGET")

count() { # room, times
  valgrind --tool=callgrind --callgrind-out-file="$dir/$1-$2" "$ROOMS" "$1" "$2" 2>&1 |
    awk '/Collected/ {print $4}'
}

printf '%-16s %14s %8s\n' room 'instructions' budget
over=0
for line in "${ALL[@]}"; do
  read -r room times each budget <<<"$line"
  [ $# = 0 ] || [[ " $* " == *" $room "* ]] || continue
  once=$(count "$room" "$times")
  twice=$(count "$room" $((2 * times)))
  each=$(((twice - once) / (times * each)))
  mark=''
  [ "$each" -le "$budget" ] || { mark='  over'; over=1; }
  printf '%-16s %14s %8s%s\n' "$room" "$each" "$budget" "$mark"
  [ -z "${FUNCTIONS:-}" ] || callgrind_annotate "$dir/$room-$((2 * times))" | grep -E '^ *[0-9,]+ \(' | head -n "$FUNCTIONS"
done
exit "$over"
