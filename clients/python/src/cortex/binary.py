"""`run_cli`, as in the original package. This package contains no program: it uses the `cortex` of the platform."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import List

from cortex.exceptions import CortexBinaryException


def get_cli_path() -> str:
    """The path in CORTEX_CLI_PATH, else the `cortex` on the PATH.

    Raises:
        CortexBinaryException: there is no such program.
    """
    path = os.environ.get("CORTEX_CLI_PATH")
    if path:
        if not os.path.exists(path):
            raise CortexBinaryException(f"CORTEX_CLI_PATH names {path}, which does not exist")
        return path
    found = shutil.which("cortex")
    if not found:
        raise CortexBinaryException("there is no cortex program on the PATH; set CORTEX_CLI_PATH to it")
    return found


def run_cli(args: List[str], hide_output: bool = False) -> str:
    """Runs the CLI and returns its output.

    Raises:
        CortexBinaryException: the command failed; the message is its error output.
    """
    with tempfile.TemporaryFile("w+", encoding="utf8") as errors:
        process = subprocess.Popen(
            [get_cli_path(), *args],
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf8",
            env={**os.environ, "CORTEX_CLI_INVOKER": "python"},
        )
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if not hide_output:
                sys.stdout.write(line)
                sys.stdout.flush()
        if process.wait() != 0:
            errors.seek(0)
            raise CortexBinaryException(errors.read())
    return output
