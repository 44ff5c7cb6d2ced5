"""The container of gunicorn: the same answers as asgi.py."""

import json
import time


def app(environment, start):
    path = environment["RAW_URI"].split("?")[0]
    if path.endswith("/events"):
        start("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    source = environment["wsgi.input"]
    if path.endswith("/echo"):
        start("200 OK", [("Content-Type", "application/octet-stream")])
        return iter(lambda: source.read(65536), b"")
    body = source.read()
    headers = [[name[5:].replace("_", "-").lower(), value] for name, value in environment.items() if name.startswith("HTTP_")]
    if environment.get("CONTENT_LENGTH"):
        headers.append(["content-length", environment["CONTENT_LENGTH"]])
    document = {"method": environment["REQUEST_METHOD"], "target": environment["RAW_URI"], "headers": headers,
                "body": body.decode("latin-1")}
    data = json.dumps(document).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data))), ("X-Own", "1")])
    return [data]


def events():
    for number in range(5):
        yield b"data: %d\n\n" % number
        time.sleep(0.1)
