"""The second container of the pod: reads a file of the shared /mnt and converts it to upper case."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = os.path.join("/mnt", os.path.basename(self.path))
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path) as file:
            data = file.read().upper().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *arguments):
        print(format % arguments, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", 9000), Handler).serve_forever()
