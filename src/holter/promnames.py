"""What metrics, attributes and units are called in Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from holter import genai, names
from holter.figures import LONGEST_TEXT
from holter.metric import LEVELS, Attributes, AttributeValue, Kind, Series
from holter.record import Outcome
from holter.words import clean

Type = Literal["counter", "gauge", "histogram", "info"]

_LONGEST_NAME: Final = 200
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9]+")
_UNITS: Final = {
    "s": "seconds", "min": "minutes", "h": "hours", "d": "days", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "bit": "bits", "m": "meters",
    "g": "grams", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "Cel": "celsius", "Hz": "hertz",
    "%": "percent",
}  # fmt: skip
# In our own names and the conventions', "1" means a share; in a user's it means that no unit was given.
_SHARES: Final = ("holter.", "process.", "system.", "hw.", "cpython.", "gen_ai.")
_PLURALS: Final = ("_total", "_count")
_RESERVED: Final = ("_sum", "_bucket", "_created", "_info")
_SAMPLES: Final[Mapping[Type, tuple[str, ...]]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "info": ("", "_info"),
}
# What every page has besides the metrics of a snapshot.
INFO: Final = "holter"
ALERTS_FIRING: Final = "holter_alerts_firing"
_OWN: Final = {INFO, f"{INFO}_info", ALERTS_FIRING}
# Whose series without an outcome holds what ended well.
_WITH_OUTCOME: Final = {
    names.CALL_DURATION,
    names.SPAN_DURATION,
    genai.REQUEST_DURATION,
    genai.CLIENT_DURATION,
    genai.CLIENT_OPERATION_DURATION,
    names.TRAINING_STEP_DURATION,
    names.TRAINING_PHASE_DURATION,
    names.TRAINING_RUN_DURATION,
}


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as Prometheus knows it: its name without the suffixes of samples, its type and its unit in words."""

    name: str
    type: Type
    unit: str = ""


def family(name: str, unit: str, kind: Kind) -> Family:
    """
    Return the family of metric *name*: letters, digits and underscores, the unit as a suffix.

    What would read as a part of a histogram or as a counter and is none is called otherwise: the
    gauge ``process.thread.count`` is ``process_threads``.
    """
    base = _word(name)[:_LONGEST_NAME]
    unit_word = _unit_word(name, unit, kind)
    if kind in LEVELS and base.endswith("_info") and unit_word in ("", "ratio"):
        return Family(base.removesuffix("_info"), "info")
    for suffix in _PLURALS:
        if base.endswith(suffix):
            base = base.removesuffix(suffix)
            base += "" if kind == "counter" or base.endswith("s") else "s"
    if base.endswith(_RESERVED):
        base += "_value"
    if unit_word and not base.endswith(f"_{unit_word}"):
        base += f"_{unit_word}"
    types: Mapping[Kind, Type] = {"counter": "counter", "histogram": "histogram"}
    return Family(base, types.get(kind, "gauge"), unit_word)


def families(series: Iterable[Series]) -> dict[tuple[str, str, Kind], Family]:
    """
    Return the family of each metric in *series* by its name, unit and kind.

    Where two would get the same name, the one that was there first has it, and the other a number behind it.
    """
    taken = set(_OWN)
    found: dict[tuple[str, str, Kind], Family] = {}
    for one in sorted(series, key=lambda one: one.id):
        key = one.name, one.unit, one.kind
        if key in found:
            continue
        wanted = chosen = family(*key)
        number = 1
        while taken & _sample_names(chosen):
            number += 1
            # Before the unit, which stays the suffix.
            stem = wanted.name.removesuffix(f"_{wanted.unit}") if wanted.unit else wanted.name
            ending = f"_{wanted.unit}" if wanted.unit else ""
            chosen = Family(f"{stem}_{number}{ending}", wanted.type, wanted.unit)
        taken |= _sample_names(chosen)
        found[key] = chosen
    return found


def labels(attributes: Attributes) -> dict[str, str]:
    """Return *attributes* as labels, sorted by name, their values on one printable line of at most 1,024 characters."""
    found: dict[str, str] = {}
    for key in sorted(attributes, key=str):
        name = stem = _label(str(key))
        number = 1
        while name in found:
            number += 1
            name = f"{stem}_{number}"
        found[name] = label_value(attributes[key])
    return dict(sorted(found.items()))


def series_labels(series: Series) -> dict[str, str]:
    """Return the labels of *series*: its attributes, and outcome ``ok`` where something else would stand otherwise."""
    attributes = dict(series.attributes)
    if series.name in _WITH_OUTCOME:
        attributes.setdefault(names.CALL_OUTCOME, Outcome.OK.label)
    return labels(attributes)


def label_value(value: AttributeValue | None) -> str:
    """Return *value* as the text of a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else clean(str(value), LONGEST_TEXT)


def _word(text: str) -> str:
    """Return *text* in ASCII letters, digits and single underscores, beginning with a letter."""
    word = _FOREIGN.sub("_", text[: 2 * _LONGEST_NAME]).strip("_")
    return word if word[:1].isalpha() else f"unnamed_{word}".rstrip("_")


def _label(key: str) -> str:
    name = _word(key)[:_LONGEST_NAME]
    # Names that samples of histograms and summaries use themselves.
    return f"{name}_attribute" if name in ("le", "quantile") else name


def _unit_word(name: str, unit: str, kind: Kind) -> str:
    if unit in ("1", ""):
        is_level = kind in LEVELS
        is_share = is_level and name.startswith(_SHARES) and not name.startswith(names.TRAINING_METRIC_PREFIX)
        return "ratio" if is_share and unit else ""
    amount, slash, per = unit.partition("/")
    amount = "" if amount.startswith("{") else _UNITS.get(amount, _FOREIGN.sub("_", amount[:40]).strip("_"))
    per = _UNITS.get(per, _FOREIGN.sub("_", per[:40]).strip("_")).removesuffix("s")
    return "_".join(filter(None, (amount, f"per_{per}" if slash and per else "")))


def _sample_names(of: Family) -> set[str]:
    return {of.name + suffix for suffix in _SAMPLES[of.type]}
