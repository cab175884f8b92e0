"""Estimators of scikit-learn, and whatever has methods like theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any, ClassVar

from holter.errors import ConfigurationError
from holter.metric import Attributes
from holter.options import checked_attributes
from holter.probes.patches import Path
from holter.target import Bench, Need, Target

_METHODS = ("fit", "predict", "predict_proba", "transform")
# Their result is the estimator.
_NO_ROWS = frozenset({"fit", "partial_fit"})


@dataclass(frozen=True)
class ScikitLearn(Target):
    """
    The methods of an estimator of scikit-learn, or of what is made like one (XGBoost, LightGBM).

    *estimator* is a class, by itself or as ``"sklearn.svm:SVC"`` before it is imported: then all its
    objects are watched, those of its subclasses too. Or an object, such as a pipeline that was
    loaded: then only that one, not its clones, and it is kept until it is uninstrumented.
    Of *methods* those are watched that it has. Calls are named ``SVC.predict``; their units are rows.

    >>> import holter
    >>> from sklearn.linear_model import LogisticRegression
    >>> made = holter.instrument(holter.targets.ScikitLearn(LogisticRegression))
    >>> model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    >>> len(model.predict([[0.2], [0.9], [0.8]]))
    3
    >>> where = {"holter.call.name": "LogisticRegression.predict"}
    >>> holter.snapshot().find("holter.call.duration", where=where).total.units
    3
    >>> holter.uninstrument(made)
    True

    Raises:
        ConfigurationError: *estimator* is none of these, or *methods* are no names.
    """

    component: ClassVar[str] = "sklearn"
    package: ClassVar[str] = "scikit-learn"
    needs: ClassVar[tuple[Need, ...]] = (
        Need("sklearn.base:BaseEstimator.get_params"),
        Need("sklearn.base:TransformerMixin.fit_transform", ("X",)),
        Need("sklearn.linear_model:LogisticRegression.fit", ("X", "y")),
        Need("sklearn.linear_model:LogisticRegression.predict", ("X",)),
        Need("sklearn.pipeline:Pipeline.predict", ("X",)),
    )

    estimator: Any
    methods: tuple[str, ...] = _METHODS
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        methods: Any = self.methods
        if not isinstance(methods, tuple) or not all(isinstance(name, str) and name for name in methods):
            raise ConfigurationError(f"expected methods as names such as ('fit', 'predict'), got {methods!r:.60}")
        if isinstance(self.estimator, str):
            Path.parse(self.estimator)
        elif not any(hasattr(self.estimator, name) for name in ("fit", *self.methods)):
            raise ConfigurationError(
                f"expected an estimator, its class or 'module:Class', got {self.estimator!r:.60}, "
                f"which has none of the methods {', '.join(self.methods)}"
            )
        checked_attributes(self.attributes)

    def __hash__(self) -> int:
        """Like `__eq__`, by what it is about."""
        return hash((self.estimator if isinstance(self.estimator, str) else id(self.estimator), tuple(self.methods)))

    def __eq__(self, other: object) -> bool:
        """Whether *other* is about the same estimator, with the same options."""
        if not isinstance(other, ScikitLearn):
            return NotImplemented
        is_same = self.estimator is other.estimator or (
            isinstance(self.estimator, str) and self.estimator == other.estimator
        )
        return is_same and (tuple(self.methods), self.attributes) == (tuple(other.methods), other.attributes)

    def attach(self, bench: Bench) -> None:
        """Watch the methods."""
        if isinstance(self.estimator, str):
            bench.when_there(self.estimator, lambda estimator: self._watch(bench, estimator))
        else:
            self._watch(bench, self.estimator)

    def _watch(self, bench: Bench, estimator: Any) -> None:
        kind = estimator if isinstance(estimator, type) else type(estimator)
        for method in self._methods_of(estimator):
            units = None if method in _NO_ROWS else rows
            bench.patch_in(
                estimator, method, name=f"{kind.__qualname__}.{method}", units=units, attributes=self.attributes
            )

    def _methods_of(self, estimator: Any) -> Iterable[str]:
        # A class has also those that its objects have only under some settings, as a pipeline's `transform`.
        if isinstance(estimator, type):
            return [name for name in self.methods if any(name in vars(base) for base in estimator.__mro__)]
        return [name for name in self.methods if hasattr(estimator, name)]


def rows(result: Any) -> int | None:
    """Return how many rows a result has, without looking into them: an array, a sparse matrix, a frame, a list."""
    if isinstance(result, list) and result and hasattr(result[0], "shape"):
        # One array an output.
        result = result[0]
    shape = getattr(result, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 1
    return len(result) if isinstance(result, Sized) else 1
