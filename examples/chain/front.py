"""An API that calls another API by the cluster's host name, and a second container of its pod over localhost.

It listens on port 80: the platform uses no port of a pod."""

import json
import os
import signal
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATEWAY = "http://ingressgateway-apis.istio-system.svc.cluster.local"


def call_api(endpoint, document):
    """Submits to another API and waits for its result."""
    request = urllib.request.Request(
        f"{GATEWAY}/{endpoint}", data=json.dumps(document).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        identifier = json.load(answer)["id"]
    while True:
        with urllib.request.urlopen(f"{GATEWAY}/{endpoint}/{identifier}", timeout=10) as answer:
            document = json.load(answer)
        if document["status"] == "completed":
            return document["result"]
        if document["status"] in ("failed", "cancelled"):
            raise RuntimeError(f"{endpoint} {document['status']}: {document.get('error')}")
        time.sleep(0.05)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        greeting = call_api("hello", body)["greeting"]
        # The containers of this pod share /mnt: this one writes a file, the other one processes it.
        identifier = self.headers["X-Cortex-Request-ID"]
        with open(f"/mnt/{identifier}.txt", "w") as file:
            file.write(greeting)
        with urllib.request.urlopen(f"http://localhost:9000/{identifier}.txt", timeout=10) as answer:
            shouted = answer.read().decode()
        os.remove(f"/mnt/{identifier}.txt")
        data = json.dumps({"greeting": greeting, "shouted": shouted}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *arguments):
        print(format % arguments, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("0.0.0.0", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
