"""A container for measurements: answers with its input after `sleep` seconds; `exit` ends the process once per request.

`fail` causes a wrong answer: `status`, `type` or `json`; with `recover` once per request. `size` is the number of bytes of
filler in the answer; `once` answers 409 if a replica has seen the request before. The answer contains the times at which the program started and listened, to separate its start from
the platform's."""

import time

BEGAN = time.time()

import hashlib
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def is_first(self):
        """Whether no replica (that shares `/marks`) has seen this request."""
        folder = "/marks" if os.path.isdir("/marks") else "/mnt"
        path = f"{folder}/{self.headers['X-Cortex-Request-ID']}"
        if os.path.exists(path):
            return False
        open(path, "w").close()
        return True

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = json.loads(raw or "{}")
        if body.get("exit") and self.is_first():
            os._exit(body["exit"])
        repeated = body.get("once") and not self.is_first()
        time.sleep(body.get("sleep", 0))
        answer = json.dumps({
            "number": body.get("number"), "began": BEGAN, "listening": LISTENING,
            "replica": os.environ["CORTEX_REPLICA_ID"], "version": os.environ.get("APP_VERSION"),
            "digest": hashlib.sha256(raw).hexdigest(), "filler": "x" * body.get("size", 0),
        }).encode()
        fail = body.get("fail") or (body.get("recover") if body.get("recover") and self.is_first() else None)
        if fail == "json":
            answer = answer[:-1]
        self.send_response(409 if repeated else 503 if fail == "status" else 200)
        self.send_header("Content-Type", "text/plain" if fail == "type" else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = Server(("0.0.0.0", int(os.environ["CORTEX_PORT"])), Handler)
LISTENING = time.time()
print("listening", file=sys.stderr, flush=True)
server.serve_forever()
