"""A web server for perf/browser.sh and perf/http.sh: files, echoes, events, WebSockets, long bodies.

web.py PORT DIRECTORY REPORT    serves until ended; what a page POSTs to /report is written to REPORT
"""

import base64, hashlib, json, os, socket, struct, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT, DIRECTORY, REPORT = int(sys.argv[1]), sys.argv[2], sys.argv[3]
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "json": "application/json"}
PATIENCE = 120
reported, endless_ended, forged = threading.Event(), threading.Event(), threading.Event()
steps = threading.Semaphore(0)
# 1 MiB that repeats with no power of two, so that a piece in the wrong place shows.
PIECE = bytes(i * 167 % 251 for i in range(1 << 20))
TWICE = memoryview(PIECE + PIECE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, kind="text/plain; charset=utf-8", status=200, **fields):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def pieces_of(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def body(self):
        """The request's body, piece by piece."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                while size:
                    piece = self.rfile.read1(min(size, 1 << 18))
                    if not piece:
                        raise EOFError
                    size -= len(piece)
                    yield piece
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read1(min(left, 1 << 18))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece

    def do_GET(self):
        url = urlsplit(self.path)
        match url.path:
            case "/data.json":
                self.answer(json.dumps({"greeting": "good day"}), "application/json")
            case "/who":
                who = {"hashname": self.headers.get("Trunkline-Hashname"), "cookie": self.headers.get("Cookie")}
                self.answer(json.dumps(who), "application/json")
            case "/cookie":
                self.answer("", Set_Cookie="crumb=dry; HttpOnly; SameSite=Strict")
            case "/echo":
                self.answer(url.query)
            case "/pieces":
                self.pieces_of("application/octet-stream")
                for n in range(3):
                    self.chunk(b"piece%d" % n)
                    if not steps.acquire(timeout=PATIENCE):
                        return
                self.chunk(b"")
            case "/next":
                steps.release()
                self.answer("")
            case "/events":
                self.pieces_of("text/event-stream")
                for n in range(3):
                    self.chunk(b"data: event%d\n\n" % n)
                self.chunk(b"")
            case "/endless":
                self.pieces_of("application/octet-stream")
                try:
                    while True:
                        self.chunk(PIECE)
                except OSError:
                    endless_ended.set()
                self.close_connection = True
            case "/endless-ended":
                self.answer("the server noticed" if endless_ended.wait(PATIENCE) else "the server goes on")
            case "/when-reported":
                self.answer("" if reported.wait(PATIENCE) else "no report", status=204 if reported.is_set() else 500)
            case "/forged":
                self.answer("yes" if forged.is_set() else "no")
            case "/long":
                size = int(parse_qs(url.query)["bytes"][0])
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                for at in range(0, size, len(PIECE)):
                    self.wfile.write(PIECE[: size - at])
            case "/socket":
                self.web_socket()
            case path:
                name = os.path.basename(path) or "index.html"
                file = os.path.join(DIRECTORY, name)
                if not os.path.isfile(file):
                    return self.answer("no such page", status=404)
                with open(file, "rb") as f:
                    self.answer(f.read(), TYPES[name.rsplit(".", 1)[1]])

    def do_POST(self):
        match urlsplit(self.path).path:
            case "/report":
                text = b"".join(self.body())
                with open(REPORT + ".new", "wb") as f:
                    f.write(text)
                os.rename(REPORT + ".new", REPORT)
                reported.set()
                self.answer("")
            case "/write":
                forged.set()
                self.answer("")
            case _:
                self.answer(b"".join(self.body()))

    def do_PUT(self):
        """Takes a body as /long sends it, and says how much of it was right."""
        at = 0
        for piece in self.body():
            start = at % len(PIECE)
            if piece != TWICE[start : start + len(piece)]:
                return self.answer(f"wrong after {at}\n", status=400)
            at += len(piece)
        self.answer(f"{at} right\n")

    def web_socket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            first, length = self.rfile.read(2)
            length &= 127
            if length == 126:
                (length,) = struct.unpack(">H", self.rfile.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.rfile.read(8))
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i & 3] for i, b in enumerate(self.rfile.read(length)))
            head = bytes([first]) + (bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length) if length < 65536 else b"\x7f" + struct.pack(">Q", length))
            self.wfile.write(head + data)
            if first & 15 == 8:
                return


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
