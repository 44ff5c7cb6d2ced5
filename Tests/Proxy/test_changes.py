"""R15, R18, R20: containers that close idle connections, changes under load, and scaling between zero and one."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from load import Load, from_container
from stand import FULL

ROUNDS = 10 if FULL else 2
POSTS = int(os.environ.get("PROXY_POSTS", 1_000_000 if FULL else 6_000))


# R15: the container `idle` closes a connection that is idle for 50 ms, with FIN.

def test_a_container_that_closes_idle_connections_never_causes_a_502(stand):
    """POSTs of unique ids, with pauses around the timeout: each gets a 200 and is delivered once."""
    dice = random.Random(15)
    stand.deploy(stand.program("idle-posts"))
    failures, delivered_again = [], []

    async def caller(number, count):
        reader, writer = await asyncio.open_connection(*stand.address)
        for index in range(count):
            await asyncio.sleep(dice.choice([0, 0.045, 0.048, 0.05, 0.051, 0.052, 0.055]))
            body = b"x" * dice.choice([0, 10, 5000])
            writer.write(b"POST /idle-posts/%d-%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (number, index, len(body), body))
            status, fields, body = await asyncio.wait_for(Load.response(reader), 20)
            if status != 200:
                failures.append((status, body))
            elif body != b"1":
                delivered_again.append(body)
        writer.close()

    async def run():
        await asyncio.gather(*(caller(number, POSTS // 60) for number in range(60)))
        reader, writer = await asyncio.open_connection(*stand.address)
        writer.write(b"GET /idle-posts/total HTTP/1.1\r\nHost: h\r\n\r\n")
        total = (await Load.response(reader))[2]
        writer.close()
        return total
    total = asyncio.run(run())
    stand.platform.cli("delete", "idle-posts", "-f")
    ids, most, around_the_end = map(int, total.split())
    print(f"{ids} ids, {around_the_end} around the end of their connection, {len(failures)} failures")
    assert delivered_again == []
    assert most == 1
    # Bytes that arrive together with the end may have been seen: only for them a 502 is right.
    assert len(failures) <= around_the_end < POSTS // 100, (len(failures), around_the_end, failures[:3])
    assert ids + len(failures) >= POSTS // 60 * 60


# R18: changes under load from 50 connections.

def changing(stand, answer="a", pods=1, delay="0.005"):
    return stand.program(
        "changing", [f"autoscaling: {{min_replicas: {pods}, max_replicas: {pods}, init_replicas: {pods}}}"], ["max_concurrency: 100"],
        [("IDLE", "60"), ("ANSWER", answer), ("DELAY", delay)])


@pytest.fixture(scope="module")
def changed(stand):
    stand.deploy(changing(stand))
    yield stand
    stand.platform.cli("delete", "changing", "-f")


def settle(stand, replicas=None):
    """Waits until the update is complete."""
    def is_settled(status):
        counts = status["replica_counts"]
        requested = counts["requested"]
        return (counts["ready"] == status["up_to_date"] == requested and (replicas is None or requested == replicas)
                and counts.get("creating", 0) + counts.get("terminating", 0) == 0)
    stand.platform.until("changing", is_settled, 60)


def under_load(stand, operation, rounds=ROUNDS):
    with Load(stand.address, "/changing/x", from_container, pause=0.01) as load:
        time.sleep(0.5)
        for number in range(rounds):
            operation(number)
        time.sleep(0.5)
    assert load.faults == [], (len(load.faults), load.count, load.faults[:10])
    assert load.count > 50 * rounds
    return load


def test_refreshes_under_load(changed):
    def refresh(_):
        changed.platform.cli("refresh", "changing")
        time.sleep(0.3)
        settle(changed)
    under_load(changed, refresh)


def test_updates_under_load(changed):
    def update(number):
        changed.deploy(changing(changed, f"version {number}"))
        settle(changed)
    load = under_load(changed, update)
    assert load.bodies[b"version %d" % (ROUNDS - 1)] > 0


def test_rollbacks_under_load(changed):
    def rollback(_):
        changed.platform.cli("rollback", "changing")
        time.sleep(0.3)
        settle(changed)
    under_load(changed, rollback)


def test_scaling_under_load(changed):
    """Up and down in turn."""
    def scale(number):
        pods = 3 if number % 2 == 0 else 1
        changed.deploy(changing(changed, pods=pods))
        settle(changed, pods if pods == 3 else None)
    under_load(changed, scale, 2 * ROUNDS)


def test_slow_requests_survive_an_update(changed):
    """C13: a draining replica finishes the requests inside."""
    changed.deploy(changing(changed, "slow", delay="1.5"))
    settle(changed)

    def update(_):
        changed.deploy(changing(changed, "slow too", delay="1.4"))
        settle(changed)
    with Load(changed.address, "/changing/x", from_container, connections=20) as load:
        time.sleep(0.5)
        update(0)
        time.sleep(0.5)
    assert load.faults == []


# R20.

def test_zero_and_back(stand):
    """Each wake-up is answered by the container, with the origin `activator`; no request is lost around the decision."""
    text = stand.program(
        "sleeper", ["autoscaling: {min_replicas: 0, init_replicas: 0, max_replicas: 1, window: 10s,",
                    "  downscale_stabilization_period: 0s, max_downscale_factor: 0}"],
        ["max_concurrency: 100"], [("IDLE", "60")])
    stand.deploy(text)

    def replicas():
        return stand.platform.describe("sleeper")["replica_counts"]["ready"]

    async def request():
        reader, writer = await asyncio.open_connection(*stand.address)
        writer.write(b"GET /sleeper/x HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await asyncio.wait_for(Load.response(reader), 30)
        writer.close()
        return response

    rounds, woken = (40 if FULL else 2), 0
    for number in range(rounds):
        deadline = time.monotonic() + 30
        if number % 3 != 2:
            while replicas() > 0 and time.monotonic() < deadline:
                time.sleep(0.05)
        else:
            # Around the decision, which falls about 10 s after the last request.
            time.sleep(9.5 + 0.2 * (number % 7))
        status, fields, body = asyncio.run(request())
        assert (status, body) == (200, b"ok"), (status, fields, body)
        origin = fields[b"x-cortex-origin"]
        woken += origin == b"activator"
        status, fields, body = asyncio.run(request())
        assert (status, body) == (200, b"ok"), (status, fields, body)
        # The decision may fall between the two requests, unless the first has just woken the replica.
        assert fields[b"x-cortex-origin"] == b"api" or (origin == b"api" and number % 3 == 2)
    assert woken >= rounds // 2
    stand.platform.cli("delete", "sleeper", "-f")
