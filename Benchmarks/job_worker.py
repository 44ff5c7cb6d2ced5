"""The container of `job_soak.py`: a worker that answers each batch after PAUSE seconds with the squares of its items."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_batch = isinstance(items, list)
        if is_batch:
            time.sleep(float(os.environ["PAUSE"]))
        answer = json.dumps([item * item for item in items] if is_batch else {}).encode()
        self.send_response(200 if is_batch else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("0.0.0.0", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
