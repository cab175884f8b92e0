"""A real llama.cpp server on a small model of random weights: what it answers is nonsense, how it answers is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_WIDTH, _HEADS, _LAYERS, _CONTEXT = 32, 2, 1, 512
_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"

# In a process of its own: the server's threads know no end but that of their process.
_SERVE = """
import json, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], 0, ["127.0.0.1"]
params.n_parallel, params.n_ctx, params.warmup, params.n_gpu_layers = 4, 2048, False, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity = -1
server = xllamacpp.Server(params)
print("LISTENING " + json.dumps(server.listening_address), flush=True)
sys.stdin.read()
import os
os._exit(0)
"""


def write_model(path: Path) -> None:
    """Write a model of the kind llama, with a vocabulary of single bytes."""
    import gguf  # noqa: PLC0415 - not part of the test extra

    draw = np.random.default_rng(7)
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256)), "▁".encode()]
    pieces += [bytes([letter]) for letter in b"abcdefghijklmnopqrstuvwxyz"]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * 27
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(2 * _WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(pieces))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * len(pieces))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_TEMPLATE)

    def add(name: str, *shape: int, ones: bool = False) -> None:
        values = np.ones(shape) if ones else draw.normal(0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))

    add("token_embd.weight", len(pieces), _WIDTH)
    add("output_norm.weight", _WIDTH, ones=True)
    add("output.weight", len(pieces), _WIDTH)
    for layer in range(_LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", _WIDTH, ones=True)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", _WIDTH, _WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", 2 * _WIDTH, _WIDTH)
        add(f"blk.{layer}.ffn_up.weight", 2 * _WIDTH, _WIDTH)
        add(f"blk.{layer}.ffn_down.weight", _WIDTH, 2 * _WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def llama_server(folder: Path) -> Iterator[str]:
    """The address of a server, whose process ends with the block."""
    model = folder / "tiny.gguf"
    write_model(model)
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = next((line for line in process.stdout if line.startswith("LISTENING ")), "")
            assert line, (folder / "server.log").read_text()[-2000:]
            yield json.loads(line.removeprefix("LISTENING "))
        finally:
            process.stdin.close()
            process.kill()
            process.wait()
            process.stdout.close()
