"""A container for measurements: answers with what it was sent, after `sleep` seconds; `exit` ends the process instead.

Its answer also says when it began and when it listened, so that its own start can be told from the platform's."""

import time

BEGAN = time.time()

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or "{}")
        if body.get("exit") and not os.path.exists(f"/mnt/{self.headers['X-Cortex-Request-ID']}"):
            open(f"/mnt/{self.headers['X-Cortex-Request-ID']}", "w").close()
            os._exit(body["exit"])
        time.sleep(body.get("sleep", 0))
        answer = json.dumps({
            "number": body.get("number"), "began": BEGAN, "listening": LISTENING,
            "replica": os.environ["CORTEX_REPLICA_ID"], "version": os.environ.get("APP_VERSION"),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = Server(("127.0.0.1", int(os.environ["CORTEX_PORT"])), Handler)
LISTENING = time.time()
print("listening", file=sys.stderr, flush=True)
server.serve_forever()
