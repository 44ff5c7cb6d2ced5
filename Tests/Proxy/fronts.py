"""nginx and haproxy in front of the same origin, for comparison."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; underscores_in_headers on; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  large_client_header_buffers 16 64k; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  timeout http-request 5s
  option http-server-close
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server origin 127.0.0.1:{origin}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def available() -> list[str]:
    path = os.environ["PATH"] + ":/usr/sbin"
    return [name for name in ("nginx", "haproxy") if shutil.which(name, path=path)]


class Front:
    def __init__(self, name: str, origin: int, folder: str):
        self.name, self.port = name, free_port()
        text = {"nginx": NGINX, "haproxy": HAPROXY}[name].format(folder=folder, port=self.port, origin=origin)
        path = os.path.join(folder, name + ".conf")
        with open(path, "w") as file:
            file.write(text)
        program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
        arguments = {"nginx": ["-c", path], "haproxy": ["-db", "-f", path]}[name]
        with open(os.path.join(folder, name + ".out"), "wb") as log:
            self.process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.address = ("127.0.0.1", self.port)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(self.address, timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not listen; see {folder}/{name}.out") from None
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
