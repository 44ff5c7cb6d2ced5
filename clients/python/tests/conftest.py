"""Fixtures: one platform for all tests, and a separate home for each run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

import cortex
import platform_under_test


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's own environments."""
    folder = tmp_path_factory.mktemp("platform")
    before = dict(os.environ)
    variables = platform_under_test.environment(folder)
    os.environ.clear()
    os.environ.update(variables)
    yield folder
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def platform(home: Path) -> Iterator[platform_under_test.Platform]:
    running = platform_under_test.Platform(home)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(platform: platform_under_test.Platform) -> Iterator[cortex.Client]:
    with cortex.client() as client:
        yield client


@pytest.fixture(scope="session")
def echo(client: cortex.Client) -> cortex.Endpoint:
    """The API that most tests call: eight requests at a time; the header `X-Do` selects the answer."""
    client.deploy(platform_under_test.api("echo"), wait=True)
    return client.endpoint("echo")
