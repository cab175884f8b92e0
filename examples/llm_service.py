"""
A FastAPI service that streams tokens of a real transformers model, watched.

    pip install holter fastapi uvicorn transformers torch
    uvicorn --app-dir examples llm_service:app

GET /generate?prompt=5,17,3&tokens=20 streams token ids, a line each; GET /holter shows the summary. The model is a
GPT-2 of two layers with random weights, so that nothing is downloaded: what it says makes no sense, how long it takes
does. Figures go to llm_service.jsonl in the folder where it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import torch
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from transformers import GPT2Config, GPT2LMHeadModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

import holter

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=64, vocab_size=500, bos_token_id=0, eos_token_id=None))
model.eval()


class Tokens(BaseStreamer):
    """Hands tokens from the thread that makes them to the event loop; None is the end."""

    def __init__(self) -> None:
        self.loop, self.queue = asyncio.get_running_loop(), asyncio.Queue[int | None]()
        self.has_prompt = False

    def put(self, value: torch.Tensor) -> None:
        if self.has_prompt:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, int(value))
        self.has_prompt = True

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, None)


class Left(StoppingCriteria):
    """Stops a generation whose client has gone."""

    def __init__(self) -> None:
        self.is_set = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.is_set.is_set())


@holter.llm(
    operation="text_completion",
    provider="transformers",
    model="tiny-gpt2",
    targets={"time_to_first_token": 0.5, "time_per_output_token": 0.05},
)
async def generate(prompt: list[int], tokens: int) -> AsyncIterator[int]:
    streamer, left = Tokens(), Left()
    options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    running = asyncio.create_task(
        asyncio.to_thread(
            model.generate,
            torch.tensor([prompt]),
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([left]),
            **options,
        )
    )
    # Also where it fails before it has said that it is over.
    running.add_done_callback(lambda _: streamer.queue.put_nowait(None))
    try:
        while (token := await streamer.queue.get()) is not None:
            yield token
    finally:
        left.is_set.set()
        await running


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with holter.start("llm", version="tiny-gpt2", exporters=[holter.LogFile("llm_service.jsonl")]):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/generate")
async def answer(prompt: str, tokens: int = 20) -> StreamingResponse:
    ids = [int(one) for one in prompt.split(",")]
    return StreamingResponse((f"{token}\n" async for token in generate(ids, tokens)), media_type="text/plain")


@app.get("/holter", response_class=PlainTextResponse)
def figures() -> str:
    return str(holter.summary())
