"""OCR as an API: it answers a PNG or JPEG with its lines of text, their boxes and confidences."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

engine = None


def load():
    """Loads the models of the package; until then the readiness probe fails."""
    global engine
    from rapidocr_onnxruntime import RapidOCR

    began = time.monotonic()
    engine = RapidOCR()
    print(f"models loaded in {time.monotonic() - began:.1f} s", flush=True)


def read_text(image_bytes):
    import cv2
    import numpy

    image = cv2.imdecode(numpy.frombuffer(image_bytes, numpy.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("the body is no image that can be read; send a PNG or JPEG")
    began = time.monotonic()
    found, _ = engine(image)
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "seconds": round(time.monotonic() - began, 3),
        "lines": [
            {
                "text": text,
                "confidence": round(float(confidence), 4),
                "box": [[round(float(x), 1), round(float(y), 1)] for x, y in box],
            }
            for box, text, confidence in found or []
        ],
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        ready = self.path == "/ready" and engine is not None
        self.answer(200 if ready else 503, {"ready": ready})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.answer(200, read_text(body))
        except ValueError as error:
            self.answer(422, {"error": str(error)})

    def answer(self, status, document):
        data = json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        if self.command == "POST":
            print(f"{self.headers.get('X-Cortex-Request-ID')} answered {code}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=load, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080))), Handler).serve_forever()
