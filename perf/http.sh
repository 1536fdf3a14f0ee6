#!/usr/bin/env bash
# Long bodies over HTTP, down and up, between two guests behind NATs: `trunkline http` at one, a web
# server behind the other. Every byte is checked at the end that receives it. Prints, for each, how
# long it took and the resident memory of both nodes and the command, read in /proc every 50 ms: before
# (nodes only), after a tenth of the time, the most, and after nine tenths. Needs root, ip, nft and python3.
#   perf/http.sh [MIB] [NAT OF A] [NAT OF B]        (1024 port port; or symmetric)
set -euo pipefail
cd "$(dirname "$0")/.."
. perf/pair.sh

readonly MIB=${1:-1024} FIRST=${2:-port} SECOND=${3:-port}
readonly SIZE=$((MIB << 20))
set_up "$FIRST" "$SECOND"
echo "NATs: $FIRST $SECOND; a to b: $(way a); b to a: $(way b)"

cat >"$dir/measure.py" <<'PY'
import os, subprocess, sys, threading, time
name, size, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
pids, command = dict(zip("ab", map(int, sys.argv[4:6]))), sys.argv[6:]
PIECE = bytes(i * 167 % 251 for i in range(1 << 20))  # as web.py has it
TWICE = memoryview(PIECE + PIECE)

def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)

def feed(pipe):
    try:
        for at in range(0, size, len(PIECE)):
            pipe.write(PIECE[: size - at])
        pipe.close()
    except OSError:
        pass

def take(pipe):
    at = 0
    while piece := pipe.read1(1 << 18):
        start = at % len(PIECE)
        if piece != TWICE[start : start + len(piece)]:
            return f"wrong after {at}"
        at += len(piece)
    return f"{at} right"

before = {n: resident(pid) for n, pid in pids.items()}
seen = {n: [] for n in (*pids, "command")}
start = time.monotonic()
up = name == "up"
child = subprocess.Popen(command, stdin=subprocess.PIPE if up else subprocess.DEVNULL, stdout=subprocess.PIPE)
pids["command"] = child.pid
over = threading.Event()
def watch():
    while not over.wait(0.05):
        for n, pid in pids.items():
            try: seen[n].append(resident(pid))
            except (OSError, IndexError): pass
        if time.monotonic() - start > limit:
            child.kill()
watcher = threading.Thread(target=watch)
watcher.start()
if up:
    threading.Thread(target=feed, args=(child.stdin,), daemon=True).start()
    said = child.stdout.read().decode().strip()
else:
    said = take(child.stdout)
code = child.wait()
took = time.monotonic() - start
over.set()
watcher.join()
def of(n):
    # The command's own last figure is that of a process about to end.
    samples = [s for s in seen[n] if s] or [0]
    late = samples[len(samples) * 9 // 10]
    return (f"{before[n]:.0f}, " if n in before else "") + f"{samples[len(samples) // 10]:.0f}, {max(samples):.0f}, {late:.0f}"
print(f"| {name} | {took:.1f} | {size / took / (1 << 20):.0f} | {of('a')} | {of('b')} | {of('command')} |")
if code or said != f"{size} right":
    sys.exit(f"exit code {code}: {said}")
PY

echo "| $MIB MiB | seconds | MiB/s | asking node, MiB: before, at a tenth, most, at nine tenths | answering node | command: at a tenth, most, at nine tenths |"
echo "| --- | ---: | ---: | --- | --- | --- |"
run() { # down or up, arguments
  ip netns exec "${net}a" python3 "$dir/measure.py" "$1" "$SIZE" 600 "${pid[a]}" "${pid[b]}" \
    "$TRUNKLINE" http "${hashname[b]}" "${@:2}" --fail --control "$dir/a.sock"
}
for round in 1 2; do
  run down GET "/long?bytes=$SIZE"
  run up PUT /long --data -
done
echo "a to b: $(way a); b to a: $(way b)"
