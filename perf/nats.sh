#!/usr/bin/env bash
# How two nodes meet behind every pair of NATs, in namespaces of its own. Needs root, ip, nft and
# /dev/net/tun; see --help for the options.
#   perf/nats.sh [--delay MS] [--loss PERCENT] [--patience SECONDS] [--kinds port,symmetric] [--rounds N]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release -q -p trunkline-tools -p trunkline-perf
exec "${CARGO_TARGET_DIR:-$PWD/target}/release/nats" "$@"
