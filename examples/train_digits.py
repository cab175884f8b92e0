"""
Train a small network on scikit-learn's handwritten digits, watched by holter.

    pip install 'holter[demo]'
    python train_digits.py --epochs 5 --folder figures

Reads its batches from a generator that distorts the images, so that there is a wait for data to
see; a step is two batches. Writes ``holter.jsonl``, ``holter.csv`` and ``weights.npz`` to the
folder, prints the accuracy and the summary, and goes on at the last epoch when it is started again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import holter

Array = NDArray[np.float64]
Batch = tuple[Array, NDArray[np.int64]]

BATCH_ROWS = 32
BATCHES_PER_STEP = 2
HIDDEN = 64
LEARNING_RATE = 0.05


class Network:
    """One hidden layer; learns by gradients that it adds up until it is updated."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.weights = [generator.normal(scale=0.1, size=size) for size in ((65, HIDDEN), (HIDDEN + 1, 10))]
        self.forget()

    def forget(self) -> None:
        """Start to add up from nothing."""
        self._gradients = [np.zeros_like(weights) for weights in self.weights]
        self._rows = 0

    def predict(self, images: Array) -> Array:
        """Return the share of belief in each digit, shape (rows, 10)."""
        self._inputs = _with_bias((images - 5) / 6)
        self._hidden = _with_bias(np.maximum(self._inputs @ self.weights[0], 0))
        scores = self._hidden @ self.weights[1]
        beliefs = np.exp(scores - scores.max(axis=1, keepdims=True))
        return beliefs / beliefs.sum(axis=1, keepdims=True)

    def learn(self, beliefs: Array, labels: NDArray[np.int64]) -> None:
        """Add up the gradients of the images that were predicted last."""
        error = beliefs - np.eye(10)[labels]
        self._gradients[1] += self._hidden.T @ error
        self._gradients[0] += self._inputs.T @ (error @ self.weights[1][:-1].T * (self._hidden[:, :-1] > 0))
        self._rows += len(labels)

    def update(self) -> None:
        """Step down the gradients."""
        for weights, gradient in zip(self.weights, self._gradients, strict=True):
            np.subtract(weights, LEARNING_RATE * gradient / self._rows, out=weights)
        self.forget()


def _with_bias(values: Array) -> Array:
    return np.hstack((values, np.ones((len(values), 1))))


def batches(images: Array, labels: NDArray[np.int64], generator: np.random.Generator) -> Iterator[Batch]:
    """Yield all images once, in a new order, each with some noise."""
    order = generator.permutation(len(images))
    for first in range(0, len(order), BATCH_ROWS):
        rows = order[first : first + BATCH_ROWS]
        noise = generator.normal(size=(len(rows), images.shape[1]))
        yield np.clip(images[rows] + noise, 0, 16), labels[rows]


def main() -> None:
    """Train, save, and print what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5, help="until how many epochs are done")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the files go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    data = load_digits()
    images, test_images, labels, test_labels = train_test_split(data.data, data.target, test_size=0.2, random_state=0)
    generator = np.random.default_rng(0)
    network, done = Network(generator), 0
    saved = options.folder / "weights.npz"
    if saved.exists():
        with np.load(saved) as file:
            network.weights, done = [file["hidden"], file["output"]], int(file["epochs"])
    steps_per_epoch = -(-len(images) // (BATCH_ROWS * BATCHES_PER_STEP))

    files = [holter.LogFile(options.folder / "holter.jsonl"), holter.CSVFile(options.folder / "holter.csv")]
    with holter.start("digits", version="1", exporters=files):
        with holter.training(
            "digits",
            total_steps=options.epochs * steps_per_epoch,
            initial_step=done * steps_per_epoch,
            parameters={"learning_rate": LEARNING_RATE, "batch_rows": BATCH_ROWS, "activation": "relu"},
        ) as run:
            for epoch in run.epochs(range(done, options.epochs)):
                loader = batches(images, labels, generator)
                for number, (inputs, truth) in enumerate(
                    run.steps(loader, units=lambda batch: len(batch[1]), accumulate=BATCHES_PER_STEP), start=1
                ):
                    with run.phase("forward"):
                        beliefs = network.predict(inputs)
                        loss = -np.log(beliefs[np.arange(len(truth)), truth]).mean()
                    with run.phase("backward"):
                        network.learn(beliefs, truth)
                    if number % BATCHES_PER_STEP == 0 or number * BATCH_ROWS >= len(images):
                        with run.phase("update"):
                            network.update()
                    run.log(loss=loss)
                with run.phase("evaluate"):
                    accuracy = (network.predict(test_images).argmax(axis=1) == test_labels).mean()
                run.log(accuracy=accuracy)
                print(f"epoch {epoch + 1}: loss {loss:.3f}, accuracy {accuracy:.3f}")
                np.savez(saved, hidden=network.weights[0], output=network.weights[1], epochs=epoch + 1)
        print(holter.summary())


if __name__ == "__main__":
    main()
