"""The container of the WebSocket tests: an echo of messages of any size; /refuse answers 403."""

import asyncio
import http
import os
import signal

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def process(connection, request):
    path = request.path.split("?")[0]
    if path.endswith("/refuse"):
        return connection.respond(http.HTTPStatus.FORBIDDEN, "refused\n")
    return None


def choose(connection, offered):
    return next((name for name in offered if name in ("one", "two")), None)


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    port = int(os.environ.get("CORTEX_PORT", 8080))
    async with serve(echo, "0.0.0.0", port, process_request=process, max_size=None, ping_interval=None,
                     select_subprotocol=choose):
        await stop.wait()


asyncio.run(main())
