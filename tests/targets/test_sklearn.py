"""Estimators of scikit-learn: classes, single objects, pipelines."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from contracts.watched import internal_errors
from holter.errors import ConfigurationError
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME
from holter.targets.sklearn import ScikitLearn, rows
from programs import succeed

DATA, CLASSES = load_iris(return_X_y=True)


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def calls(monitor: Monitor) -> dict[str, tuple[int, int]]:
    """Return number and units of the calls of each name."""
    snapshot = monitor.snapshot()
    found = {}
    for key, series in snapshot.series.items():
        if series.name == CALL_DURATION and key in snapshot.total and snapshot.total[key].count:
            found[str(series.attributes[CALL_NAME])] = (snapshot.total[key].count, snapshot.total[key].units)
    return found


def test_all_objects_of_a_class_are_watched(monitor: Monitor) -> None:
    """With the rows of their results; inherited methods too, in this class only."""
    before = dict(vars(LogisticRegression))
    made = monitor.instrument(ScikitLearn(LogisticRegression))
    model = LogisticRegression(max_iter=500).fit(DATA, CLASSES)
    bare = DummyClassifier().fit(DATA, CLASSES)
    for size in (1, 10, 150):
        assert size == len(model.predict(DATA[:size]))
        bare.predict(DATA[:size])
    model.predict_proba(DATA[:7])
    assert {
        "LogisticRegression.fit": (1, 0),
        "LogisticRegression.predict": (3, 161),
        "LogisticRegression.predict_proba": (1, 7),
    } == calls(monitor)
    assert monitor.uninstrument(made)
    assert before == dict(vars(LogisticRegression))


def test_a_single_object_is_watched_apart_from_its_class(monitor: Monitor) -> None:
    """Neither its clones nor others of its class are; it is pickled as what it is, and loaded bare."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(DATA, CLASSES)
    before, of_class = dict(vars(model)), vars(type(model))["predict"]
    target = ScikitLearn(model)
    monitor.instrument(target)
    expected = model.predict(DATA)
    clone(model).fit(DATA, CLASSES).predict(DATA)
    loaded = pickle.loads(pickle.dumps(model))  # noqa: S301 - its own
    assert expected.tolist() == loaded.predict(DATA).tolist()
    assert {"Pipeline.predict": (1, 150)} == calls(monitor)
    assert monitor.uninstrument(target)
    assert before == vars(model)
    assert of_class is vars(type(model))["predict"]
    model.predict(DATA)
    assert {"Pipeline.predict": (1, 150)} == calls(monitor)


def test_two_objects_of_a_class_are_told_apart(monitor: Monitor) -> None:
    """Each by the name that it is given, and others of the class are not watched."""
    models = [LogisticRegression(max_iter=500, C=c).fit(DATA, CLASSES) for c in (0.1, 1.0, 10.0)]
    made = [monitor.instrument(ScikitLearn(model, attributes={"C": model.C})) for model in models[:2]]
    for size, model in enumerate(models, 1):
        model.predict(DATA[:size])
    for size, c in enumerate((0.1, 1.0), 1):
        found = monitor.snapshot().find(CALL_DURATION, {CALL_NAME: "LogisticRegression.predict", "C": c})
        assert found is not None
        assert (1, size) == (found.total.count, found.total.units)
    assert monitor.uninstrument(made[0])
    models[0].predict(DATA)
    models[1].predict(DATA)
    assert {"LogisticRegression.predict": (2, 152)} == calls(monitor)
    assert monitor.uninstrument(made[1])
    assert "predict" not in vars(LogisticRegression)


def test_methods_that_are_there_under_some_settings_stay_so(monitor: Monitor) -> None:
    """A pipeline's `transform` is there if its last step has one, watched or not."""
    with monitor.instrument(ScikitLearn(type(make_pipeline(StandardScaler())))):
        scaler = make_pipeline(StandardScaler()).fit(DATA)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(DATA, CLASSES)
        assert hasattr(scaler, "transform")
        assert not hasattr(scaler, "predict")
        assert not hasattr(model, "transform")
        scaler.transform(DATA[:4])
        model.predict(DATA[:3])
    assert {"Pipeline.fit": (2, 0), "Pipeline.transform": (1, 4), "Pipeline.predict": (1, 3)} == calls(monitor)


def test_a_search_in_several_processes_works_as_before(monitor: Monitor) -> None:
    """What is instrumented goes to joblib's workers and back."""
    with monitor.instrument(ScikitLearn(LogisticRegression)):
        search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, n_jobs=2, cv=2).fit(DATA, CLASSES)
        assert 150 == len(search.predict(DATA))
    assert (1, 150) == calls(monitor)["LogisticRegression.predict"]


def test_a_class_is_named_before_it_is_imported() -> None:
    """Then scikit-learn is imported by the program, not by holter."""
    program = """
        import json, sys
        import holter
        made = holter.instrument(holter.targets.ScikitLearn("sklearn.dummy:DummyClassifier"))
        loaded = "sklearn" in sys.modules
        from sklearn.dummy import DummyClassifier
        DummyClassifier().fit([[0], [1]], [0, 1]).predict([[0], [1], [0]])
        found = holter.snapshot().find("holter.call.duration", {"holter.call.name": "DummyClassifier.predict"})
        print(json.dumps([loaded, found.total.count, found.total.units, made.waiting]))
    """
    assert [False, 1, 3, []] == succeed(program)


def test_a_class_that_is_not_there_is_counted(monitor: Monitor) -> None:
    """As all that has changed its shape; nothing is raised."""
    made = monitor.instrument(ScikitLearn("sklearn.dummy:Gone"))
    assert ["there is no sklearn.dummy:Gone: the module sklearn.dummy has no 'Gone'"] == made.problems
    assert {"instrument ScikitLearn": 1} == internal_errors(monitor.snapshot())


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (DATA, 150),
        (sparse.csr_matrix(DATA), 150),
        ([1, 2, 3], 3),
        ([np.zeros((5, 2)), np.zeros((5, 3))], 5),
        (np.float64(1.0), 1),
        (object(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_are_told_by_shape(result: Any, expected: int) -> None:
    """Of arrays, sparse matrices, lists, and one array an output."""
    assert expected == rows(result)


def test_the_rows_of_several_outputs_are_those_of_one(monitor: Monitor) -> None:
    """A list of probabilities has one array an output."""
    model = MultiOutputClassifier(DummyClassifier()).fit(DATA, np.column_stack([CLASSES, CLASSES]))
    with monitor.instrument(ScikitLearn(model)):
        model.predict_proba(DATA[:9])
    assert (1, 9) == calls(monitor)["MultiOutputClassifier.predict_proba"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((object(),), "has none of the methods"),
        (("sklearn",), "expected what to instrument as 'module:function'"),
        ((LogisticRegression, "fit"), "expected methods as names"),
        ((LogisticRegression, ("fit", 3)), "expected methods as names"),
    ],
)
def test_what_is_no_estimator_is_refused(arguments: Any, words: str) -> None:
    """When the target is made."""
    with pytest.raises(ConfigurationError, match=words):
        ScikitLearn(*arguments)


def test_targets_are_equal_by_what_they_are_about() -> None:
    """The same estimator, and the same options."""
    model = LogisticRegression()
    assert ScikitLearn(model) == ScikitLearn(model)
    assert ScikitLearn(model) != ScikitLearn(LogisticRegression())
    assert ScikitLearn(model) != ScikitLearn(model, methods=("fit",))
    assert ScikitLearn("a.b:C") == ScikitLearn("a.b:C")
    assert 1 == len({ScikitLearn(model), ScikitLearn(model)})
    assert ScikitLearn(model) != model


def test_scikit_learn_has_the_shape_that_is_expected() -> None:
    """The doctor has nothing to say of it."""
    assert [] == list(ScikitLearn.misfits())
