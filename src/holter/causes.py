"""What a stretch of time offers as the cause of a call's trouble: time by stage, failures by type of error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from holter.measure import Measure
from holter.model import AttributeValue, Reading, Series, Snapshot
from holter.names import CALL_NAME, CALL_OUTCOME, ERROR_TYPE, ERROR_TYPE_OTHER, SPAN_DURATION, SPAN_NAME
from holter.record import Outcome
from holter.words import clean

_FAILED: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
# A stage that has grown by less than this share of the call's time does not explain it.
_TELLING_SHARE: Final = 0.1
_TYPES_SHOWN: Final = 5

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Causes:
    """
    The seconds in each span of a call, and its failures by type of error, over one stretch.

    Spans lie within each other: their seconds may add up to more than the call's.
    """

    stages: Mapping[str, float]
    errors: Mapping[str, int]

    @classmethod
    def among(cls, readings: Mapping[int, Reading], series: Mapping[int, Series], measure: Measure) -> Self:
        """Return what *readings* tell of the target of *measure*; one pass over them."""
        stages: dict[str, float] = {}
        errors: dict[str, int] = {}
        for key, reading in readings.items():
            attributes = series[key].attributes
            if series[key].name == SPAN_DURATION and measure.call is not None:
                if attributes.get(CALL_NAME) != measure.call:
                    continue
                stage = str(attributes.get(SPAN_NAME, ""))
                stages[stage] = stages.get(stage, 0.0) + reading.sum
            elif attributes.get(CALL_OUTCOME) in _FAILED and series[key].matches(measure.name, measure.where):
                error = str(attributes.get(ERROR_TYPE, ERROR_TYPE_OTHER))
                errors[error] = errors.get(error, 0) + reading.count
        return cls(stages, errors)

    def then(self, later: Self) -> Self:
        """Return what this stretch and the *later* one offer together."""
        return type(self)(_sum(self.stages, later.stages), _sum(self.errors, later.errors))

    def stage(self, snapshot: Snapshot, measure: Measure, calls: Reading) -> dict[str, AttributeValue]:
        """
        Return the stage that explains the time of the *calls* in this stretch, as evidence; empty without spans.

        That is the one that has grown most against the time before the stretch, if that growth is
        a tenth of the calls' time or more; else the one that takes most of it.
        """
        if not self.stages or not calls.count or calls.sum <= 0:
            return {}
        now = {stage: seconds / calls.count for stage, seconds in self.stages.items()}
        found = snapshot.find(measure.name, measure.where)
        earlier_calls = found.total.count - calls.count if found else 0
        before: dict[str, float] = {}
        if earlier_calls > 0:
            totals = type(self).among(snapshot.total, snapshot.series, measure).stages
            before = {stage: (totals.get(stage, 0.0) - self.stages[stage]) / earlier_calls for stage in now}
        growth = {stage: now[stage] - before.get(stage, now[stage]) for stage in now}
        stage = max(growth, key=growth.__getitem__)
        if growth[stage] < _TELLING_SHARE * calls.sum / calls.count:
            stage = max(now, key=now.__getitem__)
        evidence: dict[str, AttributeValue] = {
            "stage": clean(stage),
            "stage_share": self.stages[stage] / calls.sum,
            "stage_seconds_per_call": now[stage],
        }
        return evidence | ({"stage_seconds_per_call_before": max(0.0, before[stage])} if stage in before else {})

    def error(self, snapshot: Snapshot, measure: Measure) -> dict[str, AttributeValue]:
        """Return the commonest error of this stretch, its most frequent place and all counts, as evidence."""
        if not self.errors:
            return {}
        ordered = sorted(self.errors.items(), key=lambda pair: (-pair[1], pair[0]))
        top, count = ordered[0]
        evidence: dict[str, AttributeValue] = {"error_type": clean(top), "error_type_count": count}
        evidence["errors"] = ", ".join(f"{clean(error)} {times}" for error, times in ordered[:_TYPES_SHOWN])
        places = [place for place in snapshot.error_places if place.call == measure.call and place.error_type == top]
        if places:
            evidence["error_place"] = clean(max(places, key=lambda place: place.count).place)
        return evidence


def _sum(one: Mapping[str, Number], other: Mapping[str, Number]) -> dict[str, Number]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}
