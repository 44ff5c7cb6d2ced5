"""The program inside a container: listens, and passes its listening socket to the test (see origin.py)."""

import array
import os
import signal
import socket
import sys
import threading

folder, name = sys.argv[1], sys.argv[2]
listener = socket.create_server(("0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080))), backlog=1024)
stream = socket.socket(socket.AF_UNIX)
stream.connect(os.path.join(folder, "s"))
stream.sendmsg([name.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
stream.recv(1)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("ready", flush=True)
threading.Event().wait()
