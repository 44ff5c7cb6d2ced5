"""Fixtures: the platform with its APIs, nginx and haproxy for comparison, containers without a platform."""

from __future__ import annotations

import os

import pytest

import fronts
from origin import Origin
from stand import ROOT, Direct, Stand

PROGRAM = os.environ.get("CORTEX_PROGRAM", os.path.join(ROOT, ".build/debug/cortex"))


@pytest.fixture(scope="session")
def stand():
    running = Stand(PROGRAM)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """nginx and haproxy in front of an origin of their own; those that this machine has."""
    origin = Origin()
    port = origin.listen()
    running = [fronts.Front(name, port, str(tmp_path_factory.mktemp(name))) for name in fronts.available()]
    yield [(front, origin) for front in running]
    for front in running:
        front.stop()


@pytest.fixture(scope="session")
def direct(tmp_path_factory):
    """direct(name): this container without a platform."""
    running = {}

    def start(name):
        if name not in running:
            running[name] = Direct(name, str(tmp_path_factory.mktemp("direct")))
        return running[name]

    yield start
    for process in running.values():
        process.stop()
