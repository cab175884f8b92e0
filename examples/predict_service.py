"""
A FastAPI service around a real classifier, watched.

    pip install '.[demo]' fastapi uvicorn
    uvicorn --app-dir examples predict_service:app

POST /predict takes images of 64 pixels each (0 to 16), GET /explain/{digit} streams an answer word by
word, GET /holter shows the summary. Figures go to predict_service.jsonl in the folder where it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, StreamingResponse
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import holter

PIXELS = 64

digits = load_digits()
model = LogisticRegression(max_iter=50, tol=0.01).fit(digits.data / 16, digits.target)


@holter.watch(units=len, expected=HTTPException)
def predict(images: list[list[float]]) -> list[int]:
    with holter.span("validate"):
        if not images or any(len(image) != PIXELS for image in images):
            raise HTTPException(422, f"expected images of {PIXELS} pixels")
    with holter.span("scale"):
        scaled = np.asarray(images) / 16
    with holter.span("classify"):
        return [int(digit) for digit in model.predict(scaled)]


@holter.watch
async def explain(digit: int) -> AsyncIterator[str]:
    example = digits.data[digits.target == digit][0] / 16
    for number, share in enumerate(model.predict_proba(example[np.newaxis])[0]):
        yield f"{number}: {share:.1%}\n"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    slow = holter.Limit(predict, "p99", above=0.2, minimum_calls=100)
    log = holter.LogFile("predict_service.jsonl")
    with holter.start("digits", version="v1", exporters=[log], checks=[slow]):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def answer(images: list[list[float]]) -> list[int]:
    return predict(images)


@app.get("/explain/{digit}")
async def stream(digit: int) -> StreamingResponse:
    return StreamingResponse(explain(digit), media_type="text/plain")


@app.get("/holter")
def figures() -> PlainTextResponse:
    return PlainTextResponse(str(holter.summary()))
