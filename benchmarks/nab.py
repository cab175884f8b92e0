"""
The Numenta Anomaly Benchmark: what the shipped detector says of labelled series, row by row, as a scorer reads it.

    python benchmarks/nab.py --data DIR --out DIR     # <folder>/<file>.csv: timestamp, value, anomaly_score, alert
    python benchmarks/nab.py --print-threshold        # the one threshold chosen on the development half

Each file is fed left to right, one value at a time; nothing is known beforehand of its range, length or period. The
score is how rare a row is beside how old the series is, told once an incident, in tenths of a power of ten; `alert` is
1 where holter would notify at half an incident a week.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from holter.surprise.detector import Detector
from holter.surprise.news import STEPS, News, rarity

THRESHOLD = 0.22
WEEK_SECONDS = 604_800.0
ALERTS_PER_WEEK = 0.5


def judged(rows: list[list[str]], empty: int = 0) -> Iterator[tuple[float, int]]:
    """Yield score and alert of each row, after so many *empty* ones; a row knows those before it only."""
    detector, news, last, alerted = Detector(1, step_seconds=300.0), News(1), None, -STEPS - 1
    for _ in range(empty):
        detector.update([np.nan], 0.0)
    gaps: list[float] = []
    for index, (stamp, value, *_) in enumerate(rows):
        time = datetime.fromisoformat(stamp.strip()).replace(tzinfo=UTC).timestamp()
        if last is not None and len(gaps) < 64 and time > last:
            gaps.append(time - last)
            detector.ask(WEEK_SECONDS / ALERTS_PER_WEEK / float(np.median(gaps)))
        last = time
        alarms = detector.update([float(value)], time)
        score = float(news.filter(rarity(detector.steps_between(), detector.age))[0])
        is_alert = bool(alarms[0]) and index - alerted > STEPS
        if alarms[0]:
            alerted = index
        yield min(score / 10.0, 1.0), int(is_alert)


def main() -> None:
    """Judge all files of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with <folder>/<file>.csv of timestamp, value")
    parser.add_argument("--out", type=Path, help="where the judged files go")
    parser.add_argument("--print-threshold", action="store_true")
    parser.add_argument("--empty", type=int, default=0, help="begin with so many values missing: blocks of 32 shift")
    options = parser.parse_args()
    if options.print_threshold:
        print(THRESHOLD)
        return
    if options.data is None or options.out is None:
        # The data are Numenta's and not part of holter: without them there is nothing to measure.
        print("nothing judged: give --data and --out, or --print-threshold", file=sys.stderr)
        return
    for path in sorted(options.data.glob("*/*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        target = options.out / path.relative_to(options.data)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["timestamp", "value", "anomaly_score", "alert"])
            for (stamp, value, *_), (score, alert) in zip(rows, judged(rows, options.empty), strict=True):
                out.writerow([stamp, value, f"{score:.6f}", alert])


if __name__ == "__main__":
    main()
