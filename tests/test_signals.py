"""What a signal is called, and which series have a place among those that are judged."""

from __future__ import annotations

import numpy as np

from holter.metric import Series
from holter.signals import NOWHERE, WIDTH, Key, Places


def test_a_place_is_kept_while_it_is_needed_and_then_given_to_another() -> None:
    """By name and attributes, whatever the id of the series."""
    places = Places()
    series = {key: Series(key, f"app.gauge{key}", "1", "gauge") for key in range(40)}
    first = [places.enter(key, series).place for key in series]
    assert list(range(40)) == sorted(first)
    assert first[3] == places.enter(7_000, {7_000: Series(7_000, "app.gauge3", "1", "gauge")}).place
    needed = np.ones(places.size, np.bool_)
    needed[first[3]] = False
    assert [first[3]] == places.free(needed)
    assert first[3] == places.enter(50, {50: Series(50, "app.other", "1", "gauge")}).place
    assert Key("app.other", (), "value") == places.key(first[3] * WIDTH)


def test_a_part_counts_where_its_whole_does_once_that_is_there() -> None:
    """Errors are such parts; holter's own figures are nowhere."""
    whole = Series(1, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict"})
    part = Series(2, whole.name, "s", "histogram", {**whole.attributes, "holter.call.outcome": "error"}, 1)
    places = Places()
    assert NOWHERE == places.enter(2, {2: part}).place
    entry = places.enter(2, {1: whole, 2: part})
    assert (places.enter(1, {1: whole}).place, True) == (entry.place, entry.has_failed)
    assert NOWHERE == places.enter(3, {3: Series(3, "holter.overhead", "1", "gauge")}).place


def test_calls_are_what_has_the_duration_of_calls() -> None:
    """A stream's items have the call's name too, and a stage of it is a span."""
    names = ("holter.call.duration", "holter.stream.time_to_first_item", "holter.span.duration")
    series = {key: Series(key, name, "s", "histogram", {"holter.call.name": "chat"}) for key, name in enumerate(names)}
    places = Places()
    assert [True, False, False] == [bool(places.is_call[places.enter(key, series).place]) for key in series]


def test_a_signal_has_a_number_and_the_number_a_signal() -> None:
    """Also one that is known from the process before alone."""
    places = Places()
    for statistic, direction in (("rate", 0), ("error_ratio", 1), ("missing", 1)):
        key = Key("holter.call.duration", (("holter.call.name", "predict"),), statistic)
        assert key == places.key(places.number(key))
        assert direction == places.directions()[places.number(key)]
    level = Key("app.queue", (), "value")
    assert level == places.key(places.number(level))
