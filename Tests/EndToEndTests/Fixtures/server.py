"""The container of the end-to-end tests: the header X-Do selects the answer. Standard library only."""

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

inside = 0
most_inside = 0
lock = threading.Lock()
ready_from = time.monotonic() + float(os.environ.get("READY_AFTER", "0"))


def fetch(method, url, body=None, headers=None):
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return [answer.status, answer.read().decode("utf-8", "replace")]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode("utf-8", "replace")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/ready":
            ready = time.monotonic() >= ready_from and not os.path.exists("/tmp/unready")
            self.answer(200 if ready else 503, b"{}")
        elif self.path == "/bye":
            with open("/mnt/bye.txt", "a") as file:
                file.write("pre_stop\n")
            self.answer(200, b"{}")
        else:
            self.answer(404, b"{}")

    def do_POST(self):
        global inside, most_inside
        with lock:
            inside += 1
            most_inside = max(most_inside, inside)
        try:
            self.work()
        finally:
            with lock:
                inside -= 1

    def body(self):
        length = self.headers.get("Content-Length")
        digest, first, size = hashlib.sha256(), b"", 0
        if length is None:
            return None, b"", 0
        left = int(length)
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                break
            if len(first) < 1 << 20:
                first += piece
            digest.update(piece)
            size += len(piece)
            left -= len(piece)
        return digest.hexdigest(), first, size

    def work(self):
        digest, body, size = self.body()
        do = self.headers.get("X-Do", "describe")
        if do == "describe":
            self.document({
                "method": self.command, "path": self.path, "size": size, "sha256": digest,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
            })
        elif do == "verbatim":
            self.answer(200, body)
        elif do == "answer":
            wanted = json.loads(body)
            self.answer(
                wanted.get("status", 200), wanted.get("body", "{}").encode("utf-8", "surrogateescape"),
                wanted.get("type", "application/json"), wanted.get("headers", {}))
        elif do == "sleep":
            time.sleep(float(body))
            self.document({"slept": float(body)})
        elif do == "exit":
            os._exit(int(body))
        elif do == "exit-once":
            marker = f"/mnt/{self.headers['X-Cortex-Request-ID']}"
            if not os.path.exists(marker):
                open(marker, "w").close()
                os._exit(9)
            self.document({"survived": True})
        elif do == "environment":
            self.document({"environment": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd(), "uid": os.getuid()})
        elif do == "file":
            wanted = json.loads(body)
            try:
                if "write" in wanted:
                    with open(wanted["path"], "w") as file:
                        file.write(wanted["write"])
                if "list" in wanted:
                    self.document({"names": sorted(os.listdir(wanted["path"]))})
                else:
                    with open(wanted["path"]) as file:
                        self.document({"text": file.read()})
            except OSError as error:
                self.document({"error": error.strerror})
        elif do == "fetch":
            wanted = json.loads(body)
            data = wanted["body"].encode() if "body" in wanted else None
            self.document(fetch(wanted.get("method", "GET"), wanted["url"], data, wanted.get("headers")))
        elif do == "connect":
            wanted = json.loads(body)
            try:
                socket.create_connection((wanted["host"], wanted["port"]), timeout=5).close()
                self.document({"connected": True})
            except OSError as error:
                self.document({"connected": False, "error": str(error)})
        elif do == "most-inside":
            self.document({"most": most_inside})
        elif do == "big":
            self.answer(200, b'"' + b"x" * (int(body) - 2) + b'"')
        elif do == "unready":
            open("/tmp/unready", "w").close()
            self.document({})
        elif do == "memory":
            block = bytearray(int(body))
            for index in range(0, len(block), 4096):
                block[index] = 1
            self.document({"allocated": len(block)})
        elif do == "statvfs":
            status = os.statvfs(body.decode())
            self.document({"bytes": status.f_frsize * status.f_blocks})
        else:
            self.answer(400, b'{"error": "unknown X-Do"}')

    def document(self, value):
        self.answer(200, json.dumps(value).encode())

    def answer(self, status, data, kind="application/json", headers=None):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *arguments):
        print(format % arguments, flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def terminate(*_):
    print("got SIGTERM", flush=True)
    with open("/mnt/bye.txt", "a") as file:
        file.write("SIGTERM\n")
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("IGNORE_TERM") else terminate)
    time.sleep(float(os.environ.get("LISTEN_AFTER", "0")))
    port = int(os.environ.get("LISTEN_PORT", os.environ.get("CORTEX_PORT", "8080")))
    print("listening", port, flush=True)
    Server((os.environ.get("LISTEN_HOST", "0.0.0.0"), port), Handler).serve_forever()
