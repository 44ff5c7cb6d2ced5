"""The container of the end-to-end tests of RealtimeAPIs: the path selects the response. Standard library only.

VERSION and STATUS (environment) are the version in the documents and the status of /hit; HITS is a file that gets the
number of every /hit that arrives; READY_FILE_AFTER creates /mnt/ready after that many seconds."""

import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def exchange(wanted):
    """Sends each text and reads until the next expected one; returns what arrived, and when."""
    arrived, pieces, began = b"", [], time.monotonic()
    with socket.create_connection((wanted["host"], wanted["port"]), timeout=20) as connection:
        for text, until in wanted["steps"]:
            start = len(arrived)
            connection.sendall(text.encode())
            while until.encode() not in arrived[start:]:
                data = connection.recv(65536)
                if not data:
                    return {"text": arrived.decode(), "pieces": pieces, "closed": True}
                arrived += data
                pieces.append([time.monotonic() - began, data.decode()])
    return {"text": arrived.decode(), "pieces": pieces, "closed": False}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action, _, rest = self.path.strip("/").partition("/")
        if action == "hit":
            if "HITS" in os.environ:
                with open(os.environ["HITS"], "a") as file:
                    file.write(rest + "\n")
            time.sleep(0.005)
            self.document({"hit": rest}, int(os.environ.get("STATUS", "200")))
        elif action == "sleep":
            time.sleep(float(rest))
            self.document({"slept": float(rest)})
        elif action == "stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for word in (b"one\n", b"two\n", b"end\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(word), word))
                time.sleep(0.3)
            self.wfile.write(b"0\r\n\r\n")
        elif action == "upgrade":
            self.send_response(101)
            self.send_header("Connection", "upgrade")
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.end_headers()
            while data := self.connection.recv(65536):
                self.connection.sendall(b"<" + data + b">")
            self.close_connection = True
        elif action == "exchange":
            self.document(exchange(json.loads(body)))
        elif action == "unready":
            os.remove("/mnt/ready")
            self.document({})
        else:
            self.document({"method": self.command, "path": self.path, "prefix": self.headers["X-Forwarded-Prefix"]})

    do_POST = do_PUT = do_GET

    def document(self, value, status=200):
        value |= {"version": os.environ.get("VERSION"), "replica": os.environ["CORTEX_REPLICA_ID"]}
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    if "READY_FILE_AFTER" in os.environ:
        threading.Timer(float(os.environ["READY_FILE_AFTER"]), lambda: open("/mnt/ready", "w").close()).start()
    Server(("0.0.0.0", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
