"""Asks over a WebSocket and prints each token as it arrives: talk.py URL QUESTION..."""

import sys

from websockets.sync.client import connect

url, *questions = sys.argv[1:]
with connect(url.replace("http", "ws", 1) + "/ws") as socket:
    for question in questions:
        socket.send(question)
        while token := socket.recv():
            print(token, end="", flush=True)
        print()
