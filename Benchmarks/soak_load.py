"""The load of the soak test: six AsyncAPIs, each with its kind of requests and their expected ends, and two RealtimeAPIs
behind a TrafficSplitter."""

import hashlib
import http.client
import json
import random
import threading
import time

from own_platform import api

QUICK = ["window: 10s", "upscale_stabilization_period: 0s", "downscale_stabilization_period: 20s", "target_in_flight: 3"]
# A request is delivered again, however often its replica is killed.
LOST = "retries: {max_attempts: 50, on: [unreachable], backoff: 1s}"
ANY = "retries: {max_attempts: 50, on: [unreachable, status_5xx, timeout, invalid_response], backoff: 1s}"
# Minimum and maximum of replicas, what is retried, pause between two requests of a caller.
KINDS = {
    "soakfast": (2, 5, LOST, 0.1), "soakslow": (1, 3, LOST, 1.0), "soakfail": (1, 2, LOST, 0.7), "soaklarge": (1, 2, LOST, 4.0),
    "soakburst": (1, 4, ANY, None), "soakzero": (0, 2, LOST, None),
}
REALTIME = {"soakreal-a": 2, "soakreal-b": 1}  # the number of replicas
SPLITTER = "soaksplit"
FAILURES = {"status": "container_status", "type": "container_not_json_type", "json": "container_invalid_json"}


def yaml(platform, name, version, program="worker.py"):
    least, most, retries, _ = KINDS[name]
    scaling = ", ".join([f"min_replicas: {least}", f"max_replicas: {most}"] + QUICK)
    return api(
        name, program, [f"autoscaling: {{{scaling}}}", retries], ["max_concurrency: 4"],
        [f"env: {{APP_VERSION: \"{version}\", {platform.mark()}}}", "liveness_probe: {tcp_socket: {port: 8080}, period_seconds: 2}"],
        image=platform.image, volumes=[f"{platform.marks()}:/marks"])


def realtime_yaml(platform, name, version, program="worker.py"):
    return api(
        name, program, [f"autoscaling: {{min_replicas: {REALTIME[name]}, max_replicas: {REALTIME[name]}}}"], ["max_concurrency: 4"],
        [f"env: {{APP_VERSION: \"{version}\", {platform.mark()}}}"],
        image=platform.image, volumes=[f"{platform.marks()}:/marks"], kind="RealtimeAPI")


def splitter_yaml():
    first, second = REALTIME
    return f"- name: {SPLITTER}\n  kind: TrafficSplitter\n  apis: [{{name: {first}, weight: 50}}, {{name: {second}, weight: 50}}]\n"


def body(name, number, dice):
    """A request of this kind, and its expected error kind, if any."""
    request = {"number": number, "sleep": dice.choice([0, 0, 0.05, 0.3])}
    if name == "soakslow":
        request["sleep"] = dice.uniform(1, 8)
    if name == "soaklarge":
        request |= {"padding": "p" * dice.randrange(100_000, 4_000_000), "size": dice.randrange(100_000, 2_000_000)}
    if name == "soakburst" and dice.random() < 0.1:
        request["recover"] = dice.choice(list(FAILURES))
    # Rarely, because a container that ends repeatedly is restarted with increasing delays.
    if name in ("soakfast", "soakburst") and dice.random() < 0.001:
        request["exit"] = dice.choice([1, 3, 137])
    if name == "soakfail" and dice.random() < 0.5:
        request["fail"] = dice.choice(list(FAILURES))
    return request, FAILURES.get(request.get("fail"))


class Load:
    def __init__(self, platform, seed):
        self.platform, self.seed = platform, seed
        self.stop, self.up = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.submitted = {}  # id -> (api, number, digest, kind of error)
        self.refused = 0
        self.longest = {"answered": 0.0, "cut off": 0.0}  # seconds of a submission
        self.calls = Calls(self)
        self.threads = [threading.Thread(target=self.run, args=item) for item in enumerate(KINDS)] + [
            threading.Thread(target=self.calls.run, args=(number,)) for number in range(4)]

    def run(self, index, name):
        """Submits requests of its kind; every returned id must get an end."""
        dice = random.Random(self.seed + index)
        number = 0
        while not self.stop.is_set():
            number += 1
            request, error = body(name, number, dice)
            text = json.dumps(request)
            began, ended = time.time(), "answered"
            try:
                identifier = self.platform.submit(name, text)
                with self.lock:
                    self.submitted[identifier] = (name, number, hashlib.sha256(text.encode()).hexdigest(), error)
            except (OSError, ValueError, http.client.HTTPException):
                ended = "cut off"
                self.refused += 1
            self.longest[ended] = max(self.longest[ended], time.time() - began)
            if ended == "cut off":
                self.up.wait(30)
                time.sleep(0.1)
            pause = KINDS[name][3]
            if name == "soakburst":
                pause = 0.02 if time.time() % 60 < 15 else 1.0
            if name == "soakzero":
                pause = dice.choice([1, 50])
            self.stop.wait(pause)

    def verdict(self):
        """Reads every answer; returns wrong ones, the number of attempts, and the number for each API."""
        wrong, attempts, ended = [], 0, dict.fromkeys(KINDS, 0)
        for identifier, (name, number, digest, error) in self.submitted.items():
            document = self.platform.result(name, identifier)
            deadline = time.time() + 300
            while document["status"] in ("in_queue", "in_progress") and time.time() < deadline:
                document = self.platform.result(name, identifier)
            attempts += document.get("attempts", 0)
            ended[name] += 1
            if error:
                good = document["status"] == "failed" and document["error"]["kind"] == error
            else:
                good = document["status"] == "completed" and (
                    document["result"]["number"], document["result"]["digest"]) == (number, digest)
            if not good:
                wrong.append((name, identifier, error, str(document)[:300]))
        return wrong, attempts, ended


class Calls:
    """Callers of the splitter and of one of its targets. A call may only fail when its container or the platform was killed."""

    # A replica that was killed twice in a row is restarted after a pause; until then the API may have no replica.
    RESTART = 30

    def __init__(self, load):
        self.load, self.lock = load, threading.Lock()
        self.disturbances = []  # the times of kills
        self.answered = 0
        self.failures = []  # (began, ended, description)

    def disturbed(self):
        self.disturbances.append(time.time())

    def run(self, number):
        platform, load = self.load.platform, self.load
        dice = random.Random(load.seed + 1000 + number)
        path = f"/{list(REALTIME)[0]}" if number == 0 else f"/{SPLITTER}"
        count = 0
        while not load.stop.is_set():
            count += 1
            text = json.dumps({
                "number": count, "once": True, "sleep": dice.choice([0, 0, 0.02, 0.2]),
                "padding": "p" * dice.choice([0, 100, 200_000]), "size": dice.choice([0, 100, 300_000])})
            began, problem = time.time(), None
            try:
                status, answer = platform.request("POST", platform.addresses["gateway"] + path, text)
                problem = None if status == 200 else f"{status} {answer[:200]}"
                document = json.loads(answer) if status == 200 else None
                if document and (document["number"], document["digest"]) != (count, hashlib.sha256(text.encode()).hexdigest()):
                    problem = f"wrong answer {answer[:200]}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
            with self.lock:
                self.answered += problem is None
                if problem:
                    self.failures.append((began, time.time(), f"{path} {problem}"))
            if problem:
                load.up.wait(30)
            load.stop.wait(0.05)

    def verdict(self):
        """The failures that no kill explains, and the number of the others."""
        wrong = []
        for began, ended, problem in self.failures:
            span = self.RESTART if "no_replica" in problem else 2
            explained = any(began - span < moment < ended + 1 for moment in self.disturbances)
            if not explained or " 409 " in problem or "wrong answer" in problem:
                wrong.append(("realtime", time.strftime("%H:%M:%S", time.localtime(began)), problem))
        return wrong, len(self.failures) - len(wrong)
