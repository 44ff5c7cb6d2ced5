"""A container whose responses last long: /length, /chunked and /close send one byte every 20 ms; /once answers at once."""

import asyncio
import os


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            kind = head.split(b" ")[1]
            if kind == b"/once":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            line = {b"/length": b"Content-Length: 10000\r\n", b"/chunked": b"Transfer-Encoding: chunked\r\n"}.get(kind, b"")
            writer.write(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n")
            for _ in range(10000):
                writer.write(b"1\r\nx\r\n" if kind == b"/chunked" else b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080)))
    await server.serve_forever()


asyncio.run(main())
