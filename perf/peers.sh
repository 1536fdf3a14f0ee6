#!/usr/bin/env bash
# Installs what perf/compare and perf/overlay.sh compare with: programs of the system by apt-get, the others by cargo, into
# target/peers, so that nothing of yours is overwritten. What is there already stays.
#   perf/peers.sh [PEER ...]      (nats-server coturn iroh-relay zenohd mosquitto yggdrasil haproxy socat ssh rathole)
# What cannot be installed is said to be missing; the rest is installed all the same.
set -uo pipefail
cd "$(dirname "$0")/.."

readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly PEERS=$TARGET/peers
# Servers and their clients are built of the same parts: those are built once.
readonly BUILD=$PEERS/build
PATH=$PATH:/usr/sbin

system() { # program, package
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { missing "$1" "apt-get install $2, as root"; return 1; }
  packages+=("$2")
}
missing() { echo "MISSING: $1 ($2)" >&2; }
crate() { # program, and what cargo install is told
  [ -x "$PEERS/bin/$1" ] && return
  CARGO_TARGET_DIR=$BUILD cargo install --root "$PEERS" "${@:2}" || missing "$1" "cargo install ${*:2}"
}
client() { # directory
  CARGO_TARGET_DIR=$BUILD cargo build --release --locked --manifest-path "perf/$1/Cargo.toml" || missing "$1's client" "perf/$1"
}

packages=()
mkdir -p "$PEERS"
[ $# -gt 0 ] || set -- nats-server coturn iroh-relay zenohd mosquitto yggdrasil haproxy socat ssh rathole
for peer in "$@"; do
  case $peer in
  coturn) system turnserver coturn ;;
  ssh) system sshd openssh-server ;;
  nats-server | mosquitto | yggdrasil | haproxy | socat) system "$peer" "$peer" ;;
  iroh-relay | zenohd | rathole) ;;
  *) echo "perf/peers.sh: nobody is called $peer" >&2; exit 2 ;;
  esac
done
if [ ${#packages[@]} -gt 0 ]; then
  # Daemons are not to start: a policy that forbids it, for as long as this takes.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  for package in "${packages[@]}"; do
    apt-get install -qq -y --no-install-recommends "$package" >/dev/null || missing "$package" "apt-get install $package"
  done
fi
for peer in "$@"; do
  case $peer in
  iroh-relay) crate iroh-relay --locked iroh-relay@1.4.1 --features server && client iroh ;;
  zenohd) crate zenohd --locked zenohd@1.10.2 && client zenoh ;;
  # Its lock file names a version of `time` that new compilers refuse.
  rathole) crate rathole rathole@0.5.0 ;;
  esac
done
