"""R14: each case through the gateway ends as it does directly at the container."""

from __future__ import annotations

import asyncio
import random
import resource
import socket

import pytest
import wsproto
from websockets.asyncio.client import connect
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from stand import FULL
from websockets_raw import BINARY, CONTINUATION, PING, PONG, SHUT, TEXT, Echo, close, frame, talk

SIZES = [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20, 16 << 20]
END = close(1000)


def cases():
    for size in SIZES:
        text, data = b"t" * size, bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        yield f"text of {size} bytes", [frame(TEXT, text), Echo(text), END]
        yield f"binary of {size} bytes", [frame(BINARY, data), Echo(data), END]
    numbers = [b"%d" % n for n in range(100)]
    yield "100 small messages in one segment", [b"".join(frame(TEXT, n) for n in numbers), Echo(*numbers), END]
    yield "one byte a segment", [*(bytes([byte]) for byte in frame(TEXT, b"hello")), Echo(b"hello"), END]
    yield "fragments", [frame(TEXT, b"one ", False), frame(CONTINUATION, b"two ", False), frame(CONTINUATION, b"three"),
                        Echo(b"one two three"), END]
    yield "empty fragments", [frame(BINARY, b"", False), frame(CONTINUATION, b"", False), frame(CONTINUATION, b""), Echo(b""), END]
    yield "1000 fragments", [frame(BINARY, b"0", False) + frame(CONTINUATION, b"1", False) * 998 + frame(CONTINUATION, b"2"),
                             Echo(b"." * 1000), END]
    yield "a fragmented character", [frame(TEXT, b"\xe2\x82", False), frame(CONTINUATION, b"\xac"), Echo("€".encode()), END]
    yield "ping between fragments", [frame(TEXT, b"a", False), frame(PING, b"p"), frame(CONTINUATION, b"b"), Echo(b"p", b"ab"), END]
    yield "pings and pongs", [frame(PING), frame(PING, b"x" * 125), frame(PONG, b"unasked"), frame(PING, b"last"), END]
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"close {code}", [close(code, b"because")]
    for code in (0, 999, 1004, 1005, 1006, 1012, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"close with code {code} that is reserved or invalid", [close(code)]
    yield "close without code", [close()]
    yield "close with one byte", [frame(SHUT, b"\x03")]
    yield "close with a reason of 123 bytes", [close(1000, b"r" * 123)]
    yield "close with a reason that is not UTF-8", [close(1000, b"\xff\xfe")]
    yield "close twice", [END + END]
    yield "a message after close", [END + frame(TEXT, b"late")]
    yield "close between fragments", [frame(TEXT, b"a", False), END]
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"reserved opcode {opcode}", [frame(opcode, b"x")]
    for reserved in (1, 2, 3, 4, 5, 6, 7):
        yield f"reserved bits {reserved}", [frame(TEXT, b"x", reserved=reserved)]
    yield "an unmasked frame", [frame(TEXT, b"x", masked=False)]
    yield "a fragmented ping", [frame(PING, b"x", final=False)]
    yield "a ping of 126 bytes", [frame(PING, b"x" * 126)]
    yield "a continuation without beginning", [frame(CONTINUATION, b"x")]
    yield "a new message between fragments", [frame(TEXT, b"a", False), frame(TEXT, b"b")]
    for name, text in (("0xFF", b"\xff"), ("a surrogate", b"\xed\xa0\x80"), ("an overlong form", b"\xc0\xaf"), ("a cut character", b"\xe2\x82"),
                       ("over U+10FFFF", b"\xf4\x90\x80\x80")):
        yield f"text with {name}", [frame(TEXT, b"ok" + text)]
    yield "a length of 2^63", [b"\x82\xff" + b"\xff" * 8 + b"\x11\x22\x33\x44", "half-close"]
    yield "a length in more bytes than needed", [b"\x82\xfe\x00\x01\x11\x22\x33\x44\x00", Echo(b"0"), END]
    yield "a cut frame, then half-close", [frame(TEXT, b"hello")[:-2], "half-close"]
    yield "a message, then half-close", [frame(TEXT, b"hello"), Echo(b"hello"), "half-close"]
    yield "half-close at once", ["half-close"]
    yield "half-close inside a fragmented message", [frame(TEXT, b"a", False), "half-close"]
    yield "garbage", [b"\xde\xad\xbe\xef" * 20]
    yield "an HTTP request", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"]


CASES = dict(cases())


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_directly_at_the_container(name, stand, direct):
    """R14: the same bytes and the same end."""
    expected = talk(direct("websocket").address, b"/", CASES[name])
    got = talk(stand.address, b"/websocket", CASES[name])
    assert expected[0] == [b"101"]
    assert (got[0], got[1], got[3]) == (expected[0], expected[1], expected[3])
    assert got[2] == expected[2]


@pytest.mark.parametrize("name", ["close between fragments", "pings and pongs", "close 1000", "an unmasked frame", "garbage"])
def test_frames_sent_together_with_the_handshake(name, stand, direct):
    """R14: they reach the container behind its 101, as if the caller had waited for it."""
    data = b"".join(step for step in CASES[name] if isinstance(step, bytes))
    expected = talk(direct("websocket").address, b"/", [data])
    assert talk(stand.address, b"/websocket", [], with_handshake=data) == expected
    assert expected[0] == [b"101"]


@pytest.mark.parametrize("path", [b"/refuse"])
def test_a_refused_upgrade_is_an_ordinary_response(path, stand, direct):
    """R14: any response but 101."""
    expected = talk(direct("websocket").address, path, ["half-close"], seconds=3)
    got = talk(stand.address, b"/websocket" + path, ["half-close"], seconds=3)
    assert got[0] == expected[0] == [b"403"]
    assert got[2] == expected[2]


@pytest.mark.parametrize("fields", [
    b"Sec-WebSocket-Protocol: two, one\r\n", b"Sec-WebSocket-Protocol: none\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10, x\r\n"])
def test_extensions_and_subprotocols_are_left_to_the_container(fields, stand, direct):
    expected = talk(direct("websocket").address, b"/", [frame(TEXT, b"hi"), 0.1, END], fields, seconds=3)
    assert talk(stand.address, b"/websocket", [frame(TEXT, b"hi"), 0.1, END], fields, seconds=3) == expected


@pytest.mark.parametrize("fields", [(b"Sec-WebSocket-Version: 12", b"Sec-WebSocket-Version: 13"), (b"Upgrade: websocket", b"Upgrade: WebSocket")])
def test_other_handshakes(fields, stand, direct):
    """R14: a handshake that the container judges."""
    import websockets_raw

    before, after = fields
    changed = websockets_raw.HANDSHAKE.replace(after, before) if after in websockets_raw.HANDSHAKE else websockets_raw.HANDSHAKE.replace(before, after)
    original, websockets_raw.HANDSHAKE = websockets_raw.HANDSHAKE, changed
    try:
        expected = talk(direct("websocket").address, b"/", [END, "half-close"], seconds=3)
        got = talk(stand.address, b"/websocket", [END, "half-close"], seconds=3)
    finally:
        websockets_raw.HANDSHAKE = original
    assert got[:3] == expected[:3]


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("api", ["websocket", "uvicorn"])
def test_the_client_of_websockets(api, compression, stand):
    """R14: PyPI websockets, against two servers, with and without compression."""
    async def run():
        url = f"ws://{stand.address[0]}:{stand.address[1]}/{api}/path?q"
        async with connect(url, compression=compression, max_size=None, ping_interval=None) as socket:
            for size in (0, 1, 126, 65536, 1 << 20):
                for message in ("é" * (size // 2), bytes(size)):
                    await socket.send(message)
                    assert await asyncio.wait_for(socket.recv(), 20) == message
            if api == "websocket":
                await socket.send(["frag", "ments", "", "!"])
                assert await socket.recv() == "fragments!"
            await asyncio.wait_for(await socket.ping(b"p"), 5)
            await socket.close(4001, "bye")
            assert socket.close_code == 4001
    asyncio.run(run())


def test_both_directions_at_the_same_time(stand):
    """R14: 16 connections, each with 100 messages under way."""
    async def one(url, number):
        dice = random.Random(number)
        messages = [bytes([number]) * dice.choice([0, 10, 1000, 70_000]) for _ in range(100)]
        async with connect(url, max_size=None, ping_interval=None, compression=None) as socket:
            async def write():
                for message in messages:
                    await socket.send(message)
            writer = asyncio.create_task(write())
            for message in messages:
                assert await asyncio.wait_for(socket.recv(), 30) == message
            await writer

    async def run():
        url = f"ws://{stand.address[0]}:{stand.address[1]}/websocket"
        await asyncio.gather(*(one(url, number) for number in range(16)))
    asyncio.run(run())


def test_the_client_of_wsproto(stand):
    """R14: a second implementation, with random messages in random fragments."""
    dice = random.Random(7)
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    stream = socket.create_connection(stand.address, timeout=20)
    stream.sendall(client.send(Request(host="h", target="/websocket/x")))
    events = []

    def until(kind):
        while True:
            for event in list(events):
                events.remove(event)
                if isinstance(event, kind):
                    return event
            data = stream.recv(65536)
            assert data, "closed"
            client.receive_data(data)
            events.extend(client.events())

    until(AcceptConnection)
    for _ in range(100):
        text = "".join(dice.choice("aé€😀") for _ in range(dice.randrange(3000)))
        at = 0
        while at < len(text):
            end = at + dice.randrange(1, 2000)
            stream.sendall(client.send(TextMessage(text[at:end], message_finished=end >= len(text))))
            if dice.random() < 0.3:
                stream.sendall(client.send(Ping(b"mid")))
            at = end
        if not text:
            continue
        received, finished = "", False
        while not finished:
            event = until((TextMessage, BytesMessage, CloseConnection))
            assert isinstance(event, TextMessage), event
            received, finished = received + event.data, event.message_finished
        assert received == text
    stream.sendall(client.send(Ping(b"end")))
    assert bytes(until(Pong).payload) in (b"end", b"mid")
    stream.sendall(client.send(CloseConnection(1000, "done")))
    assert until(CloseConnection).code == 1000
    assert stream.recv(10) == b""
    stream.close()


def test_idle_connections_cost_little(stand):
    """R14: 10,000 idle WebSockets cost at most 200 MiB and no CPU; 400 in CI, where a debug build adds to each."""
    # N6: connections are half of the open files, and a part of them is kept for other listeners.
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(10_000, open_files // 2 - 500) if FULL else 400

    async def run():
        url = f"ws://{stand.address[0]}:{stand.address[1]}/websocket"
        before = stand.memory()
        sockets = [await connect(url, ping_interval=None, compression=None) for _ in range(count)]
        cost = (stand.memory() - before) * 1024 / count
        began = stand.processor_seconds()
        await asyncio.sleep(1)
        used = stand.processor_seconds() - began
        for item in sockets[:: count // 20]:
            await item.send("still here")
            assert await asyncio.wait_for(item.recv(), 10) == "still here"
        for item in sockets:
            await item.close()
        return cost, used
    cost, used = asyncio.run(run())
    print(f"{cost:.1f} KiB for each of {count} idle WebSockets, {used:.2f} s of CPU in 1 s")
    assert cost <= 200 * 1024 / 10_000 * (1 if FULL else 3)
    assert used < 0.2
