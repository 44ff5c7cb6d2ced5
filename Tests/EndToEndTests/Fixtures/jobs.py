"""The container of the Batch jobs of the tests. Items are JSON objects that say what is to happen:

{"echo": X} gives X; {"fail": true} is reported as failed; {"status": N} answers the whole batch with N;
{"die": "path"} ends the process unless the file exists, which it makes; {"sleep": seconds}.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMPLETE = int(os.environ.get("COMPLETE", "200"))
LOG = os.environ.get("LOG")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log(self, *words):
        if LOG:
            with open(LOG, "a") as file:
                file.write(" ".join(str(word) for word in words) + "\n")

    def do_GET(self):
        self.answer(200, b"ok")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/on-job-complete":
            self.log("complete", self.headers["X-Cortex-Job-ID"], body.decode())
            return self.answer(COMPLETE, b"{}")
        items = json.loads(body)
        print("batch", self.headers["X-Cortex-Batch-Index"], "with", len(items), flush=True)
        results, failed = [], []
        for position, item in enumerate(items):
            if not isinstance(item, dict):
                item = {"echo": item}
            if "sleep" in item:
                time.sleep(item["sleep"])
            if "die" in item and not os.path.exists(item["die"]):
                open(item["die"], "w").close()
                os._exit(9)
            if "status" in item:
                return self.answer(item["status"], b"no")
            if item.get("fail"):
                failed.append(str(position))
            results.append(
                {
                    "echo": item.get("echo"),
                    "batch": int(self.headers["X-Cortex-Batch-Index"]),
                    "first": int(self.headers["X-Cortex-Item-Index"]),
                    "attempt": int(self.headers["X-Cortex-Attempt"]),
                    "worker": int(os.environ["CORTEX_WORKER_INDEX"]),
                    "workers": int(os.environ["CORTEX_WORKER_COUNT"]),
                }
            )
        self.log("batch", *[item.get("echo") if isinstance(item, dict) else item for item in items])
        headers = [("X-Cortex-Failed-Items", ",".join(failed))] if failed else []
        self.answer(200, json.dumps(results).encode(), headers)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
