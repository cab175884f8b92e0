"""Sessions of onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from holter.metric import Attributes
from holter.options import checked_attributes
from holter.target import Bench, Need, Target

_SESSION = "onnxruntime:InferenceSession"


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """
    Inference by onnxruntime: ``InferenceSession.run``, ``run_with_ort_values`` and ``run_with_iobinding``.

    All sessions of the process. Units are the rows of the first output, from its shape. *attributes*
    are part of all series.

    >>> import holter
    >>> holter.uninstrument(holter.instrument(holter.targets.OnnxRuntime()))
    True

    Raises:
        ConfigurationError: *attributes* that cannot work.
    """

    component: ClassVar[str] = "onnxruntime"
    package: ClassVar[str] = "onnxruntime"
    needs: ClassVar[tuple[Need, ...]] = (
        Need(f"{_SESSION}.run", ("output_names", "input_feed")),
        Need(f"{_SESSION}.run_with_ort_values", ("output_names",)),
        Need(f"{_SESSION}.run_with_iobinding", ("iobinding",)),
    )

    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        checked_attributes(self.attributes)

    def __hash__(self) -> int:
        """There is one for each set of attributes."""
        return hash(frozenset((self.attributes or {}).items()))

    def attach(self, bench: Bench) -> None:
        """Watch the three ways to run a session."""
        bench.patch(f"{_SESSION}.run", units=_rows, attributes=self.attributes)
        bench.patch(f"{_SESSION}.run_with_ort_values", units=_rows_of_values, attributes=self.attributes)
        bench.patch(f"{_SESSION}.run_with_iobinding", attributes=self.attributes)


def _rows(outputs: Any) -> int | None:
    first = outputs[0] if outputs else None
    shape = getattr(first, "shape", None)
    if shape is None:
        return len(first) if isinstance(first, list) else None
    return _first(shape() if callable(shape) else shape)


def _rows_of_values(outputs: Any) -> int | None:
    return _first(outputs[0].shape()) if outputs else None


def _first(shape: Any) -> int:
    return int(shape[0]) if len(shape) else 1
