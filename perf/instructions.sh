#!/usr/bin/env bash
# How many instructions the hot rooms take for a message, by callgrind: the same wherever the same
# build runs, whatever else the machine does. What making keys and links takes is not counted,
# nor what a read copies. Ends
# with 1 if a room takes more than its budget (perf/BUDGET.md). Needs valgrind.
#   perf/instructions.sh [ROOM ...]        (all; FUNCTIONS=12 also lists where they go)
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "SKIPPED: no valgrind here; apt-get install -y valgrind" >&2; exit 2; }
cargo build --release -q -p trunkline-bench --bin rooms
readonly ROOMS=${CARGO_TARGET_DIR:-target}/release/rooms
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# room, times, messages each time, most instructions a message
readonly ALL=("forward 4000 64 200" "forward-large 4000 64 200" "forward-apart 4000 64 2000"
  "forward-one 40000 1 3000" "line 500 64 8000" "gate 20000 1 2200")

# Where they go: of the room's, by function, with what is inlined there.
functions() { # callgrind's output
  callgrind_annotate "$1" 2>/dev/null | grep -E '^ *[0-9,]+ \(' | sed -E 's#/[^ ]*/(src|library|multiarch)/##; s# \[.*##' |
    head -n "$FUNCTIONS" || true
}

printf '%-16s %14s %8s\n' room instructions budget
over=0
for line in "${ALL[@]}"; do
  read -r room times each budget <<<"$line"
  [ $# = 0 ] || [[ " $* " == *" $room "* ]] || continue
  count=$(valgrind --tool=callgrind --callgrind-out-file="$dir/$room" --toggle-collect='rooms::measured*' \
    --toggle-collect='trunkline_bench::relay::arrive' "$ROOMS" "$room" "$times" 2>&1 | awk '/Collected/ {print $4}')
  count=$((count / (times * each)))
  mark=''
  [ "$count" -le "$budget" ] || { mark='  over'; over=1; }
  printf '%-16s %14s %8s%s\n' "$room" "$count" "$budget" "$mark"
  [ -z "${FUNCTIONS:-}" ] || functions "$dir/$room"
done
exit "$over"
