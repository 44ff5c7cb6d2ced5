"""An API in two versions: it answers with its version, and fails at a rate that can be set.

    any path    {"version": …}; status 500 for the share of requests that FAIL_RATE or the last POST /rate names
    POST /rate  sets that share: a number from 0 to 1
"""

import json
import os
import random
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "a")
fail_rate = float(os.environ.get("FAIL_RATE", 0))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if random.random() < fail_rate:
            return self.answer(500, {"version": VERSION, "error": "planted"})
        self.answer(200, {"version": VERSION})

    def do_POST(self):
        global fail_rate
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/rate":
            return self.do_GET()
        try:
            rate = float(body)
        except ValueError:
            return self.answer(400, {"error": "the body must be a number from 0 to 1"})
        fail_rate = rate
        self.answer(200, {"version": VERSION, "fail_rate": rate})

    def answer(self, status, document):
        data = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080))), Handler).serve_forever()
