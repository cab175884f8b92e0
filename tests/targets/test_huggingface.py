"""`generate` of transformers: tokens by shape alone, of decoders, of encoders with decoders, of beams."""

from __future__ import annotations

import os
from typing import Any

import pytest

from contracts.watched import internal_errors, outcomes, values
from holter import genai
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME
from holter.targets.huggingface import Transformers

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0 transformers")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install torch==2.13.0 transformers"
)

NAME = "GenerationMixin.generate"


@pytest.fixture(scope="module")
def decoder() -> Any:
    """A tiny GPT-2 of random weights."""
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=50,
        n_positions=128,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def translator() -> Any:
    """A tiny T5 of random weights."""
    config = transformers.T5Config(
        vocab_size=50,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        eos_token_id=None,
    )
    return transformers.T5ForConditionalGeneration(config).eval()


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def test_tokens_are_counted_as_they_are_made(monitor: Monitor, decoder: Any) -> None:
    """By each way to call it; the answers are what they were."""
    prompt = torch.arange(10).reshape(2, 5)
    options = {"max_new_tokens": 7, "do_sample": False}
    bare = decoder.generate(prompt, **options)
    before = vars(transformers.generation.utils.GenerationMixin)["generate"]
    target = Transformers(attributes={"model": "v7"})
    made = monitor.instrument(target)
    expected_in, expected_out = 0, 0
    for arguments, more, made_tokens, given in (
        ((prompt,), {}, 2 * 7, 10),
        ((), {"input_ids": prompt}, 2 * 7, 10),
        ((), {"inputs": prompt, "num_beams": 2, "num_return_sequences": 2}, 2 * 2 * 7, 10),
        ((prompt,), {"return_dict_in_generate": True}, 2 * 7, 10),
        ((), {"inputs_embeds": torch.zeros(1, 3, 16)}, 7, 3),
    ):
        answer = decoder.generate(*arguments, **options, **more)
        expected_in, expected_out = expected_in + given, expected_out + made_tokens
        if arguments and not more:
            assert torch.equal(bare, answer)
    snapshot = monitor.snapshot()
    found = snapshot.find(CALL_DURATION, {CALL_NAME: NAME})
    assert found is not None
    assert (5, expected_out) == (found.total.count, found.total.units)
    assert expected_in == values(snapshot, genai.INPUT_TOKENS)[1]
    assert expected_out == values(snapshot, genai.OUTPUT_TOKENS)[1]
    assert 5 == values(snapshot, genai.REQUEST_DURATION, **{genai.REQUEST_MODEL: "GPT2LMHeadModel", "model": "v7"})[0]
    assert {} == internal_errors(snapshot)
    assert [] == made.problems
    assert monitor.uninstrument(target)
    assert before is vars(transformers.generation.utils.GenerationMixin)["generate"]


def test_an_encoder_with_a_decoder_makes_all_but_the_start(monitor: Monitor, translator: Any) -> None:
    """The token that its answer begins with is none that it has made."""
    with monitor.instrument(Transformers()):
        translator.generate(torch.arange(6).reshape(1, 6), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    found = monitor.snapshot().find(CALL_DURATION, {CALL_NAME: NAME})
    assert found is not None
    assert (1, 4) == (found.total.count, found.total.units)


def test_a_streamer_gets_its_tokens(monitor: Monitor, decoder: Any) -> None:
    """As it did, one by one."""

    class Streamer(transformers.generation.streamers.BaseStreamer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.seen: list[int] = []

        def put(self, value: Any) -> None:
            self.seen += value.flatten().tolist()

        def end(self) -> None:
            self.seen.append(-1)

    streamer = Streamer()
    with monitor.instrument(Transformers()):
        answer = decoder.generate(torch.tensor([[1, 2]]), max_new_tokens=3, do_sample=False, streamer=streamer)
    assert [*answer[0].tolist(), -1] == streamer.seen


def test_an_error_is_an_error(monitor: Monitor, decoder: Any) -> None:
    """It is raised as it was."""
    with monitor.instrument(Transformers()), pytest.raises(ValueError, match="max_new_tokens"):
        decoder.generate(torch.tensor([[1]]), max_new_tokens=-1)
    snapshot = monitor.snapshot()
    assert {"error": 1} == outcomes(snapshot, NAME)
    assert 0 == (values(snapshot, genai.OUTPUT_TOKENS)[1] or 0)


def test_transformers_has_the_shape_that_is_expected() -> None:
    """The doctor has nothing to say of it."""
    assert [] == list(Transformers.misfits())
