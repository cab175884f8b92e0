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

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 - an attribute
