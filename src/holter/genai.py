"""
OpenTelemetry's names for calls of generative models.

They have left the core conventions and still move: https://opentelemetry.io/docs/specs/semconv/gen-ai/.
No other module spells one of them.
"""

from __future__ import annotations

from typing import Final

REQUEST_DURATION: Final = "gen_ai.server.request.duration"
TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105 - a metric
TIME_PER_OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105 - a metric
INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
CLIENT_DURATION: Final = "gen_ai.client.inference.duration"
CLIENT_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
# Of all that is no inference, such as embeddings.
CLIENT_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 - an attribute

# fmt: off
_DURATIONS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

BOUNDARIES: Final = {
    REQUEST_DURATION: _DURATIONS,
    CLIENT_DURATION: _DURATIONS,
    CLIENT_TIME_TO_FIRST_CHUNK: _DURATIONS,
    CLIENT_OPERATION_DURATION: _DURATIONS,
    TIME_TO_FIRST_TOKEN: (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0
    ),
    TIME_PER_OUTPUT_TOKEN: (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
}
"""The bounds of buckets that the conventions advise, in seconds."""
# fmt: on
