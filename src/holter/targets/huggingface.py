"""Models of transformers that generate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from holter.metric import Attributes
from holter.options import checked_attributes
from holter.target import Bench, Need, Target

_GENERATE = "transformers.generation.utils:GenerationMixin.generate"
_LONGEST_NAME = 200


class _Generated(NamedTuple):
    """A call and its result, which no figure keeps."""

    model: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any


@dataclass(frozen=True)
class Transformers(Target):
    """
    Generation by transformers: ``model.generate`` of all models of the process.

    A call's units are the tokens that it has made. Beside its duration there are the figures that
    `llm` has: ``gen_ai.server.request.duration``, tokens that went in and came out, and tokens a second,
    with the model's name. Tokens are counted by the shapes of tensors alone, never by what is in
    them, so that nothing waits for a device: in a batch, padding counts as tokens do.

    >>> import holter
    >>> holter.uninstrument(holter.instrument(holter.targets.Transformers()))
    True

    Raises:
        ConfigurationError: *attributes* that cannot work.
    """

    component: ClassVar[str] = "transformers"
    package: ClassVar[str] = "transformers"
    needs: ClassVar[tuple[Need, ...]] = (Need(_GENERATE, ("inputs", "streamer")),)

    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        checked_attributes(self.attributes)

    def __hash__(self) -> int:
        """There is one for each set of attributes."""
        return hash(frozenset((self.attributes or {}).items()))

    def attach(self, bench: Bench) -> None:
        """Put a watched function around `generate`."""
        name = "GenerationMixin.generate"
        calls = bench.llm(
            name,
            operation="text_completion",
            provider="transformers",
            model=_model_name,
            usage=_tokens,
            attributes=self.attributes,
        )

        def generate(call: Any, model: Any, args: Any, kwargs: Any) -> _Generated:
            return _Generated(model, args, kwargs, call(*args, **kwargs))

        watched = bench.watch(calls.around(generate), name=name, units=_new_tokens, attributes=self.attributes)

        def around(call: Any, model: Any, args: Any, kwargs: Any) -> Any:
            done = watched(call, model, args, kwargs)
            return done.result if isinstance(done, _Generated) else done

        bench.patch(_GENERATE, around=around)


def _model_name(done: Any) -> str:
    config = getattr(done.model, "config", None)
    name = getattr(config, "name_or_path", None)
    return (name if isinstance(name, str) and name else type(done.model).__name__)[:_LONGEST_NAME]


def _new_tokens(done: Any) -> int:
    return _tokens(done)[1]


def _tokens(done: Any) -> tuple[int, int]:
    """Return how many tokens went in and came out."""
    made = done.result
    rows, columns = getattr(made, "sequences", made).shape
    given = done.kwargs.get("inputs", done.args[0] if done.args else None)
    given = done.kwargs.get("input_ids") if given is None else given
    start = given
    if getattr(getattr(done.model, "config", None), "is_encoder_decoder", False):
        start = done.kwargs.get("decoder_input_ids")
        # Without one, it begins with a token of its own.
        begun = 1 if start is None else start.shape[-1]
    else:
        begun = 0 if start is None else start.shape[-1]
    embedded = done.kwargs.get("inputs_embeds")
    if given is None and embedded is not None:
        return embedded.shape[0] * embedded.shape[1], rows * columns
    return 0 if given is None else _size(given), rows * (columns - begun)


def _size(given: Any) -> int:
    size = 1
    for length in given.shape:
        size *= length
    return size
