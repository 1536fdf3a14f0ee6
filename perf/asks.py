"""Requests to a namespace at a steady pace, over a node's control socket, as `trunkline request` makes
them but without starting a process each. Times count from the moment a request was due.

asks.py SOCKET HASHNAME NAMESPACE PRIORITY COUNT INTERVAL_MS
                prints: median and 99th percentile in ms, how many were not answered
"""

import itertools, json, math, socket, sys, threading, time

SOCKET, HASHNAME, NAMESPACE = sys.argv[1:4]
PRIORITY, COUNT, INTERVAL = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]) / 1000
CONNECTIONS = 10  # a node takes 16, and answers requests on one of them in turn
ASK = {"do": "request", "hashname": HASHNAME, "namespace": NAMESPACE, "payload": "Pw==", "priority": PRIORITY}

tickets, took = itertools.count(1), []
start = time.monotonic()


def asker():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(SOCKET)
    answers = connection.makefile()
    # Whoever is free takes the next one that is due.
    while (number := next(tickets)) <= COUNT:
        due = start + number * INTERVAL
        time.sleep(max(0, due - time.monotonic()))
        connection.sendall(json.dumps({"id": number, **ASK}).encode() + b"\n")
        if "ok" in json.loads(answers.readline()):
            took.append((time.monotonic() - due) * 1000)


askers = [threading.Thread(target=asker) for _ in range(CONNECTIONS)]
for each in askers:
    each.start()
for each in askers:
    each.join()
took.sort()
rank = lambda part: "%.1f" % took[math.ceil(part * len(took)) - 1] if took else "-"
print(rank(0.5), rank(0.99), COUNT - len(took))
