"""The proxies that the realtime part of `bench.py` compares with: nginx, haproxy, envoy and caddy.

Each has one worker or thread, keeps connections on both sides, and passes every byte on at once. `/` is the nginx
container and `/constant` the constant container."""

import json
import os
import resource
import socket
import subprocess
import time

from bench_platform import LOAD, ROOT

FOLDER = f"{ROOT}/.build/bench-proxies"
ENVIRONMENT = {
    **os.environ, "PATH": f"{FOLDER}/usr/sbin:{FOLDER}/usr/bin:{os.environ['PATH']}:/usr/sbin", "GOMAXPROCS": "1",
    "LD_LIBRARY_PATH": f"{FOLDER}/usr/lib/{os.uname().machine}-linux-gnu",
}

NGINX = """
{user}
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections {files}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream nginx {{ server {nginx}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  upstream constant {{ server {constant}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
  server {{
    listen {address} backlog=4096;
    location / {{ proxy_set_header Connection ""; proxy_pass http://nginx; }}
    location /constant {{ proxy_set_header Connection ""; proxy_pass http://constant; }}
    location /constant/socket {{
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://constant;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn {half}
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
frontend callers
  bind {address}
  use_backend constant if {{ path_beg /constant }}
  default_backend nginx
backend nginx
  server nginx {nginx}
backend constant
  server constant {constant}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://{address} {{
  reverse_proxy /constant* {constant} {{
    flush_interval -1
    transport http {{
      keepalive 600s
      keepalive_idle_conns_per_host 64
    }}
  }}
  reverse_proxy {nginx} {{
    flush_interval -1
    transport http {{
      keepalive 600s
      keepalive_idle_conns_per_host 64
    }}
  }}
}}
"""


def envoy(addresses):
    """The configuration of envoy, as JSON."""
    def socket_address(address):
        host, port = address.split(":")
        return {"socket_address": {"address": host, "port_value": int(port)}}

    many = 1_000_000
    clusters = [{
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [
            {"max_connections": many, "max_pending_requests": many, "max_requests": many, "max_retries": 3}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket_address(addresses[name])}}]}]},
    } for name in ("nginx", "constant")]
    routes = [
        {"match": {"prefix": prefix}, "route": {"cluster": name, "timeout": "0s"}}
        for prefix, name in (("/constant", "constant"), ("/", "nginx"))]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "callers", "stream_idle_timeout": "0s", "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }
    return json.dumps({"static_resources": {
        "listeners": [{
            "name": "callers", "address": socket_address(addresses["address"]),
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": clusters}})


# For each proxy its configuration, as a template or a function, and its command.
PROXIES = {
    "nginx": (NGINX, ["nginx", "-e", "stderr", "-c"]),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-f"]),
    "envoy": (envoy, ["envoy", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]),
    "caddy": (CADDY, ["caddy", "run", "--adapter", "caddyfile", "--config"]),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for thread in os.listdir(f"/proc/{parent}/task"):
            found += map(int, open(f"/proc/{parent}/task/{thread}/children").read().split())
    return found


def cpu(pids):
    """Seconds of processor time that processes have used, user and system, to the nanosecond."""
    # The number of the clock that measures a process of this id (`clock_getcpuclockid`).
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def pss(pids):
    """Proportional set size of processes, in KiB."""
    return sum(
        int(line.split()[1]) for pid in pids for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))


class Subject:
    """What is measured: an address, the paths of its two containers, and the processes that count."""

    def __init__(self, name, address, pids, nginx="", constant="/constant"):
        self.name, self.address, self.pids = name, address, pids
        self.nginx, self.constant = nginx, constant

    def load(self, measure, path, *arguments):
        done = subprocess.run([LOAD, measure, self.address, path, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}, {measure} {path}: {done.stderr.strip()}")
        return json.loads(done.stdout)


class Proxy(Subject):
    """A running proxy in front of the two containers, `host:port` each."""

    def __init__(self, name, folder, nginx, constant):
        self.folder = f"{folder}/{name}"
        os.mkdir(self.folder)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        values = {
            "folder": self.folder, "address": f"127.0.0.1:{free_port()}", "nginx": nginx, "constant": constant,
            "files": files, "half": files // 2 - 50, "user": "user root;" if os.getuid() == 0 else "",
        }
        configuration, command = PROXIES[name]
        text = configuration(values) if callable(configuration) else configuration.format(**values)
        path = f"{self.folder}/configuration"
        with open(path, "w") as file:
            file.write(text)
        with open(f"{self.folder}/log", "w") as log:
            self.process = subprocess.Popen(
                [*command, path], env={**ENVIRONMENT, "HOME": self.folder}, stdout=log, stderr=log)
        super().__init__(name, values["address"], [])
        self.wait_until_it_answers()
        self.pids = children(self.process.pid)

    def wait_until_it_answers(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run([LOAD, "requests", self.address, "/", "1", "0.01"], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        self.stop()
        raise SystemExit(f"{self.name} does not answer: {open(f'{self.folder}/log').read()[-2000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
