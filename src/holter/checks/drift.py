"""A check on data: whether what a model is given, and what it answers, is still what it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from secrets import token_hex
from typing import Any, Final

import numpy as np

from holter.arguments import finite_number, positive_seconds
from holter.blocks import GROUPS
from holter.columnprofile import ColumnProfile
from holter.driftcolumn import DriftColumn, Finding, Rule
from holter.driftfigures import DriftFigures
from holter.driftwords import change_alert, columns_said, fault_alert, skew_alert
from holter.errors import ConfigurationError
from holter.intake import FAULTS, Fault, Intake, grouped
from holter.model import Alert, AttributeValue, Observation, Severity, Snapshot
from holter.newcolumn import NewColumn
from holter.profile import Profile
from holter.tabledata import named, values_of
from holter.wanted import Wanted

WEEK_SECONDS: Final = 604_800.0
_SKEW_RISK: Final = 0.01
_BAND_RISK: Final = 0.01
_MOST_NEW: Final = 16
_OF_NEW: Final = 0.2
"""The part of all false alarms that columns without a reference may have."""
_QUIET_LOOKS: Final = 6
_MOST_STATE: Final = 900_000
_LEAST_BASELINE: Final = 100
_LONGEST_TOKEN: Final = 16
_OPTIONAL: Final = ("hours", "stakes")
_BESIDE: Final = 150
"""What the names of a column and of the parts of its state take."""


class Drift:
    """
    An alert when data are no longer what they were, that names the columns in the order of what they tell.

    *reference* is a `Profile` of the data that the model was made with, or the path of one. *call* is the watched
    function; *inputs* and *outputs* say what of its arguments and of its result is looked at, as in `Wanted`, None
    for all of it, False for nothing. An array of (rows, columns) is taken for the reference's columns in their order.
    *columns* are those of the reference that are compared, by default all; but times, which go on, only by what is
    missing, unless they are named. What comes out and has no name is compared
    with the label; whatever comes out and is not in the reference is compared with its own beginning.

    **Skew**: the first *baseline_rows* independent rows, and those of a day (*baseline_seconds*), are compared with
    the reference. If they differ, that is told once, as a state, and never as an alarm: a model that is fed other
    data than it was made with from the first day on. **Drift**: from then on what comes is compared with those rows,
    and a column that has changed is an alarm, at a rate of *false_alarms_per_week* for all columns together.
    **Faults** are alerts of their own at once: a column that is missing or extra, values of another kind or far out
    of range, results that are not finite.

    **The test**: that a share (of rows below a cut, of a category, of missing values) has moved by more than
    *smallest_shift*, beyond what the reference itself and its sketch may be off. It holds however often one looks.
    Effect sizes (PSI, Kolmogorov-Smirnov, Wasserstein, Jensen-Shannon) are told and shown as gauges, of 20 columns at
    most; they are no thresholds. Rows of one
    call are not taken for independent: what calls differ by says how many they are worth. *cluster* names a column of
    the inputs, such as the user, whose rows belong together across calls; it is not compared itself.

    Looks are at most every *every_seconds*. Samples of calls are looked at, not all: see `Wanted`. Of a group of
    processes all count, and the one that leads judges the sum; columns without a reference it judges by its own.
    Takes some 45 KiB a column (embeddings 130), and some 50 us a column a look beside the counting, 30 ns a number.
    What was learnt outlives a restart: all baselines, and within 900 KB the evidence. Not thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter, numpy as np
    >>> predict = holter.watch(lambda ages: ages * 2, name="predict")
    >>> reference = holter.Profile.of({"ages": np.arange(1000) % 90})
    >>> Drift(reference, call=predict).describe()
    'predict: 1 column, no rows seen'
    """

    check = "drift"

    def __init__(
        self,
        reference: Profile | str | os.PathLike[str],
        *,
        call: object,
        inputs: object = None,
        outputs: object = None,
        columns: Any = None,
        cluster: str | None = None,
        smallest_shift: float = 0.05,
        false_alarms_per_week: float = 0.1,
        baseline_rows: int = 10_000,
        baseline_seconds: float = 86_400.0,
        every_seconds: float = 10.0,
        severity: Severity = "warning",
    ) -> None:
        profile = reference if isinstance(reference, Profile) else Profile.read(_path(reference))
        wishes = [] if inputs is False else [Wanted.of(call, "inputs", inputs)]
        wishes += [] if outputs is False else [Wanted.of(call, "outputs", outputs)]
        if not wishes:
            raise ConfigurationError("expected inputs or outputs to look at, got False for both")
        self.observes: tuple[Wanted, ...] = tuple(wishes)
        self._call = self.observes[0].call
        self._chosen = _chosen(profile, columns, cluster, inputs)
        self._cluster = cluster if cluster is None else min(named([cluster], "cluster"))
        shift = finite_number("smallest_shift", smallest_shift)
        if not 0 < shift < 1:
            raise ConfigurationError(f"smallest_shift must be a share between 0 and 1, as 0.05, got {smallest_shift!r}")
        self._rate = finite_number("false_alarms_per_week", false_alarms_per_week)
        if self._rate <= 0:
            raise ConfigurationError(f"false_alarms_per_week must be greater than 0, got {false_alarms_per_week!r}")
        given: object = baseline_rows
        if isinstance(given, bool) or not isinstance(given, int) or given < _LEAST_BASELINE:
            raise ConfigurationError(f"baseline_rows must be a whole number from 100 on, got {baseline_rows!r}")
        self._every_ns = round(positive_seconds("every_seconds", every_seconds) * 1e9)
        self._severity: Severity = severity
        self._shift, self._baseline_rows = shift, baseline_rows
        seconds = finite_number("baseline_seconds", baseline_seconds)
        if seconds < 0:
            raise ConfigurationError(f"baseline_seconds must be 0 or more, got {baseline_seconds!r}")
        self._baseline_ns = round(seconds * 1e9)
        self._has_times = columns is not None
        kept = {name: profile.columns[name] for name in self._chosen}
        unasked = profile.label if outputs is False else None
        kept = {name: column for name, column in kept.items() if name != unasked}
        self._known = frozenset(kept)
        answers = frozenset(kept) & _names(outputs)
        label = profile.label if profile.label in kept else None
        # A cluster is no column that the reference must have.
        others = {*profile.columns, *filter(None, [self._cluster])}
        self._intake = Intake(kept, label, outputs=answers, unasked=others)
        self._columns: dict[str, DriftColumn | NewColumn] = {
            name: self._made(name, column) for name, column in kept.items() if column.kind not in ("other", "")
        }
        self._looked_ns, self._figures = 0, DriftFigures(self._call)
        self._token = token_hex(8)
        self._groups: tuple[int, Any] = 0, None
        self._skewed_ns = self._changed_ns = 0
        self._names: dict[str, tuple[str, ...]] = {"skew": (), "change": ()}
        self._faults: dict[Fault, tuple[int, tuple[str, ...], int]] = {}

    def __repr__(self) -> str:
        columns = ", ".join(sorted(self._chosen))[:200]
        return (
            f"Drift({self._call!r}, columns={columns!r}, cluster={self._cluster!r}, smallest_shift={self._shift!r}, "
            f"false_alarms_per_week={self._rate!r}, baseline_rows={self._baseline_rows!r}, "
            f"baseline_seconds={self._baseline_ns / 1e9:g})"
        )

    def _rule(self, part: float) -> Rule:
        """Return the rule of a column that may have so great a part of all false alarms."""
        looks = WEEK_SECONDS / (self._every_ns / 1e9)
        return Rule(
            smallest_shift=self._shift,
            skew_risk=_SKEW_RISK * part,
            change_looks=max(2.0, looks / (self._rate * part)),
            band_risk=_BAND_RISK * part,
            baseline_rows=self._baseline_rows,
            baseline_ns=self._baseline_ns,
        )

    def _made(self, name: str, column: ColumnProfile) -> DriftColumn:
        """Return a column of the reference that has seen nothing; times go on, and are compared where asked for."""
        rule = self._rule((1 - _OF_NEW) / len(self._known))
        return DriftColumn(name, column, rule, has_values=column.kind != "time" or self._has_times)

    # -- what comes

    def observe(self, observation: Observation) -> None:
        """Count what one call was given, or what it answered."""
        groups = self._grouped(observation)
        for name, array in self._intake.columns(observation).items():
            if name == self._cluster:
                continue
            is_output = observation.source == "outputs"
            column = self._columns.get(name)
            if column is None:
                if not is_output or name in self._known or self._count_new() >= _MOST_NEW:
                    continue
                column = self._columns[name] = NewColumn(name, self._rule(_OF_NEW / _MOST_NEW))
            values = self._intake.values(name, array, column.kind, is_output=is_output)
            if self._intake.is_faulty(name):
                # That is told already, and would pass for a change of what is usual.
                continue
            if groups is None or len(groups) != len(array):
                column.take(values)
                continue
            for group in np.unique(groups).tolist():
                column.take_group(group, values_of(array[groups == group], column.kind))

    def _grouped(self, observation: Observation) -> Any:
        """Return in which group of clusters each row is; of results that of the inputs of their call."""
        if self._cluster is None:
            return None
        if observation.source == "inputs" and self._cluster not in observation.columns:
            # Without it rows would count for more than they are worth.
            self._intake.faults["missing column"].add(self._cluster)
        if self._cluster in observation.columns:
            self._groups = observation.time_ns, grouped(observation.columns[self._cluster], GROUPS)
        is_same = self._groups[0] == observation.time_ns and observation.count == observation.rows
        return self._groups[1] if is_same or self._cluster in observation.columns else None

    def _count_new(self) -> int:
        return sum(isinstance(column, NewColumn) for column in self._columns.values())

    # -- what comes together of several processes

    def share(self) -> dict[str, Any] | None:
        """Return what was counted since the last time; of columns without a reference each process keeps its own."""
        known = ((name, column) for name, column in self._columns.items() if isinstance(column, DriftColumn))
        columns = {name: told for name, column in known if (told := column.share()) is not None}
        intake = self._intake.share()
        return {"of": self._token, "columns": columns, "intake": intake} if columns or intake is not None else None

    def gather(self, share: Mapping[str, Any]) -> None:
        """
        Take in what was counted in a process.

        Raises:
            ValueError: it is not what `share` returns.
        """
        for name, told in share["columns"].items():
            column = self._columns.get(name)
            if isinstance(column, DriftColumn):
                column.gather(told, str(share["of"])[:_LONGEST_TOKEN], is_own=share["of"] == self._token)
        if share["intake"] is not None:
            self._intake.gather(share["intake"])

    # -- judging

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert where data have just come to differ, or no longer do; else none."""
        now_ns, since_ns = snapshot.time_ns, self._looked_ns
        is_new = self._intake.has_news or any(column.new_rows for column in self._columns.values())
        if now_ns - since_ns < self._every_ns or not is_new:
            return []
        self._looked_ns = now_ns
        for column in self._columns.values():
            column.look(since_ns or now_ns)
        self._figures.learn(self._columns)
        return [*self._faulty(now_ns), *self._skew(now_ns), *self._change(now_ns)]

    def _skew(self, now_ns: int) -> Iterator[Alert]:
        if self._skewed_ns:
            return
        found = self._found("is_skewed")
        if found:
            self._skewed_ns = now_ns
            self._names["skew"] = tuple(one.name for one in found)
            yield skew_alert(self._call, found, now_ns, repr(self))

    def _change(self, now_ns: int) -> Iterator[Alert]:
        found = self._found("is_changed")
        if found and not self._changed_ns:
            self._changed_ns = now_ns
            self._names["change"] = tuple(one.name for one in found)
            yield change_alert(self._call, found, now_ns, repr(self), self._severity)
        elif self._changed_ns and not found:
            since_ns, self._changed_ns = self._changed_ns, 0
            yield change_alert(
                self._call, self._names["change"], since_ns, repr(self), self._severity, lasted_ns=now_ns - since_ns
            )

    def _found(self, what: str) -> list[Finding]:
        findings = [column.finding() for column in self._columns.values() if getattr(column, what)]
        return sorted(findings, key=lambda one: -one.log_evidence)

    def _faulty(self, now_ns: int) -> Iterator[Alert]:
        for fault, names in self._intake.take_faults().items():
            known = self._faults.get(fault)
            if names and known is None:
                self._faults[fault] = now_ns, tuple(names), 0
                yield fault_alert(self._call, fault, names, now_ns, repr(self))
            elif known is not None:
                since_ns, were, quiet = known
                self._faults[fault] = since_ns, were, 0 if names else quiet + 1
                if self._faults[fault][2] >= _QUIET_LOOKS:
                    del self._faults[fault]
                    yield fault_alert(self._call, fault, were, since_ns, repr(self), lasted_ns=now_ns - since_ns)

    # -- words

    def findings(self) -> list[Finding]:
        """Return how far each column is from what is expected, with its effect sizes, the most telling first."""
        seen = [column for column in self._columns.values() if column.has_rows]
        return sorted((column.finding() for column in seen), key=lambda one: -one.log_evidence)

    def figures(self) -> Iterator[tuple[str, float, Mapping[str, AttributeValue]]]:
        """Yield name, value and attributes of the gauges that this check shows: 84 at most, and 16 that have left."""
        return self._figures.all()

    def describe(self) -> str:
        """Return in one line how the data stand."""
        return columns_said(self._call, self._columns.values(), self._names["change"] if self._changed_ns else ())

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return the baselines of all columns, and within 900 KB what is usual at each hour, and the evidence."""
        states = {name: column.save() for name, column in self._columns.items()}
        size = sum(
            _BESIDE + sum(len(str(part)) for key, part in one.items() if key != "stakes") for one in states.values()
        )
        for state in states.values():
            size += len(state.get("stakes", ""))
            if size > _MOST_STATE:
                state.pop("stakes", None)
        return {
            "columns": states,
            "looked_ns": self._looked_ns,
            "skewed_ns": self._skewed_ns,
            "changed_ns": self._changed_ns,
            "names": {what: list(names) for what, names in self._names.items()},
            "faults": {fault: [since_ns, list(names)] for fault, (since_ns, names, _) in self._faults.items()},
        }

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> None:
        """
        Go on from what was saved *gap_seconds* ago, however long that is: what was usual then is compared with.

        Raises:
            ValueError: it is not what `save` returns.
        """
        del gap_seconds
        columns: dict[str, DriftColumn | NewColumn] = {}
        for name, known in self._columns.items():
            if isinstance(known, DriftColumn):
                columns[name] = known.fresh()
        for name, one in state["columns"].items():
            if name not in columns and name not in self._known and len(columns) < len(self._known) + _MOST_NEW:
                columns[name] = NewColumn(name, self._rule(_OF_NEW / _MOST_NEW))
            if name in columns:
                columns[name].load(one)
        faults: dict[Fault, tuple[int, tuple[str, ...], int]] = {}
        for fault in FAULTS:
            if fault in state["faults"]:
                since_ns, names = state["faults"][fault]
                faults[fault] = int(since_ns), tuple(map(str, names)), 0
        told = {what: tuple(map(str, state["names"][what])) for what in ("skew", "change")}
        times = [int(state[name]) for name in ("looked_ns", "skewed_ns", "changed_ns")]
        self._columns, self._faults, self._names = columns, faults, told
        self._looked_ns, self._skewed_ns, self._changed_ns = times


def _path(reference: object) -> str | os.PathLike[str]:
    if isinstance(reference, str | os.PathLike):
        return reference
    raise ConfigurationError(f"reference must be a holter.Profile or the path of one, got {type(reference).__name__}")


def _names(selector: object) -> frozenset[str]:
    names = selector if isinstance(selector, tuple) else (selector,)
    return frozenset(name for name in names if isinstance(name, str))


def _chosen(profile: Profile, columns: Any, cluster: str | None, inputs: object) -> tuple[str, ...]:
    """Return which columns of the reference are compared."""
    if not profile.columns:
        raise ConfigurationError("reference has no columns")
    wanted = profile.columns if columns is None else named(columns, "columns", profile.columns)
    kept = tuple(name for name in profile.columns if name in wanted and name != cluster)
    if inputs is False and columns is None:
        kept = tuple(name for name in kept if name == profile.label)
    return kept
