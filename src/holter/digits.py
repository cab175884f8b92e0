"""A digit service to demonstrate on: a real classifier, its training, its stages, its clients, real trouble."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from holter.default import span, watch
from holter.monitor import Monitor

Images = NDArray[np.float64]

SIDE: Final = 8
STAGES: Final = ("decode", "resize", "classify")
BATCH_ROWS: Final = 32
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PAUSE_SECONDS: Final = 0.004
_BAD_SHARE: Final = 0.2
_DIGITS_LEFT: Final = 2
_BAD_IMAGES: Final = 20
_PATIENCE_ITEMS: Final = 3
_PATIENT_SHARE: Final = 0.9
_ASK_SHARE: Final = 0.8


def load_digits() -> tuple[Images, NDArray[np.int64]]:
    """Return scikit-learn's handwritten digits: images (1797, 64) with values 0 to 16, and what they show."""
    from sklearn.datasets import load_digits as load  # noqa: PLC0415 - heavy, and only the demo wants it

    data = load()
    return data.data, data.target


class Trainer:
    """Trains a linear classifier step by step, under a training run of *monitor*."""

    def __init__(self, monitor: Monitor, images: Images, labels: NDArray[np.int64], *, epochs: int) -> None:
        from sklearn.linear_model import SGDClassifier  # noqa: PLC0415 - heavy, and only the demo wants it

        self._monitor, self._images, self._labels, self._epochs = monitor, images, labels, epochs
        self.model: Any = SGDClassifier(loss="log_loss", random_state=0)
        self.steps = epochs * -(-len(images) // BATCH_ROWS)

    def train(self, step_done: Callable[[], None]) -> Any:
        """Train and return the model, calling *step_done* after each step."""
        parameters = {"batch_rows": BATCH_ROWS, "epochs": self._epochs, "loss": "log_loss"}
        with self._monitor.training("digits", total_steps=self.steps, parameters=parameters) as run:
            for _ in run.epochs(self._epochs):
                for images, labels in run.steps(self._batches(), units=lambda batch: len(batch[1])):
                    with run.phase("update"):
                        self.model.partial_fit(images, labels, classes=np.arange(10))
                    with run.phase("evaluate"):
                        accuracy = float(self.model.score(images, labels))
                    run.log(accuracy=accuracy)
                    step_done()
        return self.model

    def _batches(self) -> Iterator[tuple[Images, NDArray[np.int64]]]:
        """Shuffle, and distort each image a little: the work that a data loader does."""
        generator = np.random.default_rng(0)
        order = generator.permutation(len(self._images))
        for start in range(0, len(order), BATCH_ROWS):
            rows = order[start : start + BATCH_ROWS]
            noise = generator.normal(scale=0.5, size=(len(rows), SIDE * SIDE))
            yield np.clip(self._images[rows] + noise, 0, 16), self._labels[rows]


class Service:
    """
    Answers requests, JSON lists of images, with the digits that they show.

    ``predict`` and ``explain`` are watched, by the default monitor; the stages of ``predict`` are spans. ``model`` is
    to be there before the first request.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.predict = watch(self._predict, name="predict", units=len)
        self.explain = watch(self._explain, name="explain")

    def _predict(self, request: str) -> list[int]:
        with span("decode"):
            pixels = json.loads(request)
        with span("resize"):
            images = [_resized(image) for image in pixels]
        with span("classify"):
            return [int(self.model.predict(image[np.newaxis])[0]) for image in images]

    def _explain(self, request: str) -> Iterator[str]:
        """Yield an answer word by word, as a language model would."""
        for digit in self._predict(request):
            yield "It"
            yield "shows"
            yield "a"
            yield _WORDS[digit]


def _resized(image: Sequence[Sequence[float]]) -> Images:
    """Return *image*, whose sides are a multiple of 8, as the means of 8 by 8 fields; pixel by pixel."""
    height, width = len(image) // SIDE, len(image[0]) // SIDE
    means = np.zeros((SIDE, SIDE))
    for y, row in enumerate(image):
        if len(row) != SIDE * width:
            raise ValueError(f"row {y} has {len(row)} pixels, not {SIDE * width}")
        for x, pixel in enumerate(row):
            means[y // height, x // width] += pixel
    return (means / (height * width)).ravel()


class Requests:
    """
    What clients send: images of digits, and once ``trouble`` is set also malformed ones, and but zeros and ones else.

    A malformed request costs the stage *stage* real work before it fails there: a long text that
    breaks off, a large image whose last row is too short, a batch whose last image is not finite.
    """

    def __init__(self, images: Images, labels: NDArray[np.int64], stage: str) -> None:
        self._images = images.reshape(-1, SIDE, SIDE)
        self._later = self._images[labels < _DIGITS_LEFT]
        self._malformed = {"decode": self._torn, "resize": self._ragged, "classify": self._infinite}[stage]()
        self.trouble = Event()

    def next(self, chance: random.Random) -> tuple[str, bool]:
        """Return a request, and whether it is malformed."""
        if self.trouble.is_set() and chance.random() < _BAD_SHARE:
            return self._malformed, True
        images = self._later if self.trouble.is_set() else self._images
        chosen = [images[chance.randrange(len(images))].tolist() for _ in range(chance.randint(1, 3))]
        return json.dumps(chosen), False

    def _torn(self) -> str:
        return json.dumps([self._images[:300].tolist()])[:-2]

    def _ragged(self) -> str:
        large = np.kron(self._images[0], np.ones((14, 14))).tolist()
        large[-1].pop()
        return json.dumps([large])

    def _infinite(self) -> str:
        batch = self._images[:_BAD_IMAGES].copy()
        batch[-1, -1, -1] = np.inf
        return json.dumps(batch.tolist())


class Client:
    """One client of the service, which counts by itself what it was answered."""

    def __init__(self, service: Service, requests: Requests, seed: int) -> None:
        self._service, self._requests = service, requests
        self._chance = random.Random(seed)  # noqa: S311 - which digit comes next is no secret
        self.answered = self.failed = self.streamed = self.left = 0

    def run(self, stopping: Event) -> None:
        """Send requests until *stopping* is set, at the pace of a client that thinks in between."""
        while not stopping.wait(_PAUSE_SECONDS):
            request, malformed = self._requests.next(self._chance)
            if malformed or self._chance.random() < _ASK_SHARE:
                self._ask(request)
            else:
                self._listen(request)

    def _ask(self, request: str) -> None:
        try:
            self._service.predict(request)
        except ValueError:
            self.failed += 1
        else:
            self.answered += 1

    def _listen(self, request: str) -> None:
        words = self._service.explain(request)
        patient = self._chance.random() < _PATIENT_SHARE
        for heard, _ in enumerate(words, start=1):
            if heard == _PATIENCE_ITEMS and not patient:
                self.left += 1
                break
        else:
            self.streamed += 1
