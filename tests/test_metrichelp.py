"""What stands above the figures of a metric on a page."""

from __future__ import annotations

import pytest

from holter import genai, metrichelp, names
from holter.metric import Series
from holter.metrichelp import metric_help

ATTRIBUTES = ("_NAME", "_OUTCOME", "_RANK", "_PHASE", "_PREFIX", "_TYPE")
METRICS = [
    value
    for key, value in [*vars(names).items(), *vars(genai).items()]
    if key.isupper()
    and isinstance(value, str)
    and value.startswith(("holter.", "gen_ai."))
    and not key.endswith(ATTRIBUTES)
]


@pytest.mark.parametrize(
    "name",
    sorted(
        {*METRICS}
        - {
            names.METRIC,
            names.PLACE,
            names.STAGES_LEFT_OUT,
            names.SLO_WINDOW,
            names.GUARD_TO,
            names.GUARD_REASON,
            names.PAUSE_CAUSE,
            names.UNFIT_REASON,
            names.PAUSE_SECONDS,
            names.ALERTS_FIRED,
            genai.OPERATION,
            genai.PROVIDER,
            genai.REQUEST_MODEL,
            genai.TOKEN_MODALITY,
        }
    ),
)
def test_each_of_holters_metrics_says_what_it_means(name: str) -> None:
    """In one sentence of its own."""
    told = metric_help(Series(1, name, "s", "histogram"))
    assert told == metrichelp._HELP[name]
    assert (True, True) == (told.endswith("."), told.isprintable())


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("app.size", "By", "app.size, in By."),
        ("app.size", "1", "app.size."),
        ("holter.training.metric.loss", "1", "The loss that training has logged last."),
        ("app\n# TYPE", "", "app\\n# TYPE."),
    ],
)
def test_others_say_what_is_known_of_them(name: str, unit: str, expected: str) -> None:
    """The name and the unit as they were given, on one line."""
    assert expected == metric_help(Series(1, name, unit, "gauge"))
