"""The bash in which a document's commands run, and its replacements for some programs."""

import os
import select
import subprocess
import tempfile
import time

from doc_blocks import Untrue, indented

#: Longest silence of a command, in seconds.
SILENCE_LIMIT = 120

# Sends Ctrl-C after the first output. The command must end because of it.
UNTIL_INTERRUPTED = """
import os, select, signal, subprocess, sys, time
# A shell that runs the tests in the background may ignore it.
process = subprocess.Popen(
    sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
if select.select([process.stdout], [], [], 60)[0]:
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
else:
    process.kill()
sys.stdout.buffer.write(process.communicate(timeout=30)[0])
sys.exit(0 if process.returncode in (130, -signal.SIGINT) else process.returncode or 1)
"""


def make_programs(folder, cortex):
    """Writes programs that precede all others on the PATH."""
    folder.mkdir()
    (folder / "until-interrupted.py").write_text(UNTIL_INTERRUPTED)
    texts = {
        "cortex": f"""case " $* " in *" --follow "* | *" --watch "*) exec python3 {folder}/until-interrupted.py {cortex} "$@" ;; esac
exec {cortex} "$@"
""",
        "docker": 'exec podman ${PODMAN_OPTIONS:?is not set: a block that needs Docker says sh image} "$@"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text("#!/usr/bin/env bash\n" + text)
        (folder / name).chmod(0o755)
    return folder


class Shell:
    """One bash for all commands of a document, so that variables and the working directory persist."""

    def __init__(self, folder, variables):
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, text, block):
        """Runs commands up to the first that fails; returns their output as a terminal would show it."""
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(text + "\n")
            script.flush()
            # A trap detects a failure, because `set -e` would end the shell.
            self._process.stdin.write(
                f"""set -o pipefail; failed=; trap '[ -n "$failed" ] || failed=$LINENO:$?; return 1 2>/dev/null' ERR
source {script.name} </dev/null
trap - ERR; printf '\\n\\001%s\\n' "$failed"
""".encode()
            )
            self._process.stdin.flush()
            output, failed = self._read(text)
        if failed:
            line, status = map(int, failed.split(":"))
            raise Untrue(
                f"this command failed with exit status {status}:\n{indented(text.splitlines()[line - 1])}\nit wrote:\n{indented(output)}",
                block.line + line - 1 if block else None,
            )
        return output

    def _read(self, text):
        output, silent_since = b"", time.monotonic()
        while b"\n\x01" not in output or not output.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], 1)[0]:
                if time.monotonic() - silent_since > SILENCE_LIMIT:
                    self._process.kill()
                    raise Untrue(
                        f"these commands did not end:\n{indented(text)}\nthey wrote:\n{indented(output.decode())}"
                    )
                continue
            piece = os.read(self._process.stdout.fileno(), 65536)
            if not piece:
                raise Untrue(f"the shell ended in:\n{indented(text)}\nit wrote:\n{indented(output.decode())}")
            output, silent_since = output + piece, time.monotonic()
        shown, _, failed = output.decode(errors="replace").rpartition("\n\x01")
        return shown.rstrip("\n"), failed.strip()

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.stdout.close()
