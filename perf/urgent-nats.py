"""A client of nats-server for perf/urgent.sh: what nats offers a request beside bulk.

  urgent-nats.py answer|sink|flood HOST
  urgent-nats.py ask HOST          lines of COUNT MILLISECONDS on standard input, answered each with the
                                   median, the 99th percentile (ms) and how many had no answer

Requests have a connection of their own: over that of the bulk they would wait behind it."""

import socket, sys, threading, time

part, host = sys.argv[1:3]
PIECE = bytes(16384)
LATE = 5
whole = threading.Lock()  # two threads of one client write


def say(s, some):
    with whole:
        s.sendall(some)


def connect():
    for _ in range(100):
        try:
            s = socket.create_connection((host, 4222), timeout=5)
            break
        except OSError:
            time.sleep(0.1)
    s.settimeout(None)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
    return s


def messages(s):
    """Subject, reply subject or nothing, payload."""
    with s.makefile("rb", 1 << 20) as f:
        while line := f.readline():
            words = line.split()
            if words[0] == b"MSG":
                payload = f.read(int(words[-1]) + 2)[:-2]
                yield words[1], words[3] if len(words) == 5 else None, payload
            elif words[0] == b"PING":
                say(s, b"PONG\r\n")


s = connect()
if part == "answer":
    s.sendall(b"SUB ask 1\r\n")
    for _, reply, _ in messages(s):
        say(s, b"PUB %s 4\r\nnoon\r\n" % reply)
elif part == "sink":
    s.sendall(b"SUB bulk 1\r\n")
    for _ in messages(s):
        pass
elif part == "flood":
    threading.Thread(target=lambda: [None for _ in messages(s)], daemon=True).start()
    some = b"".join(b"PUB bulk %d\r\n%s\r\n" % (len(PIECE), PIECE) for _ in range(8))
    while True:
        say(s, some)
else:
    took, due = {}, {}

    def hear():
        for subject, _, _ in messages(s):
            n = int(subject.split(b".")[1])
            took[n] = time.monotonic() - due[n]

    s.sendall(b"SUB in.* 1\r\n")
    threading.Thread(target=hear, daemon=True).start()
    next_one = 0
    # Until somebody answers.
    while not took:
        due[next_one] = time.monotonic()
        say(s, b"PUB ask in.%d 1\r\n?\r\n" % next_one)
        next_one += 1
        time.sleep(0.1)
    print("ready", flush=True)
    for line in sys.stdin:
        count, pause = int(line.split()[0]), int(line.split()[1]) / 1000
        start, first = time.monotonic(), next_one
        for i in range(count):
            time.sleep(max(0, start + i * pause - time.monotonic()))
            due[next_one] = time.monotonic()
            say(s, b"PUB ask in.%d 1\r\n?\r\n" % next_one)
            next_one += 1
        end = time.monotonic() + LATE
        mine = lambda: [took[n] for n in range(first, next_one) if n in took]
        while len(mine()) < count and time.monotonic() < end:
            time.sleep(0.01)
        got = sorted(mine())
        at = lambda p: "%.1f" % (got[-(-len(got) * p // 100) - 1] * 1000) if got else "-"
        print(at(50), at(99), count - len(got), flush=True)
