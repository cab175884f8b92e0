"""Draws a signal and where it alarmed, for the how-to pages; each other script of this folder makes one picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours that can be read on white and on the dark page.
_INK: Final = "#7d8590"
_SIGNALS: Final = ("#2f81f7", "#8250df", "#1b9e77")
_LIMIT: Final = "#bf8700"
_ALARM: Final = "#e5534b"
_MOST_POINTS: Final = 600
# The same picture each time, text as text.
_STYLE: Final = {"svg.hashsalt": "holter", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}


@dataclass
class Panel:
    """One signal over time: its values, the limits it is held against, and from when to when an alert fired."""

    label: str
    lines: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    limits: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    alarms: list[tuple[float, float | None, str]] = field(default_factory=list)

    def line(self, times: Sequence[float], values: Sequence[float], label: str = "") -> None:
        """Draw *values* over *times*; what is NaN is a gap."""
        self.lines.append((*_thinned(np.asarray(times, float), np.asarray(values, float)), label))

    def limit(self, times: Sequence[float], values: Sequence[float], label: str = "") -> None:
        """Draw what the signal is held against."""
        self.limits.append((*_thinned(np.asarray(times, float), np.asarray(values, float)), label))

    def alarm(self, fired: float, resolved: float | None, label: str) -> None:
        """Mark where an alert fired, and until when; None if it still does."""
        self.alarms.append((fired, resolved, label))


class Picture:
    """Panels above each other over the same time axis."""

    def __init__(self, title: str, time_label: str = "time (min)") -> None:
        self._title, self._time_label = title, time_label
        self._panels: list[Panel] = []

    def panel(self, label: str) -> Panel:
        """Return a new panel below those there are; *label* says what it shows, with its unit."""
        self._panels.append(Panel(label))
        return self._panels[-1]

    @property
    def description(self) -> str:
        """What fired and when, in words: what the picture must go on to show."""
        alarms = [
            f"{label} at {fired:.4g}" + ("" if resolved is None else f" until {resolved:.4g}")
            for panel in self._panels
            for fired, resolved, label in panel.alarms
        ]
        return f"{self._title}: {'; '.join(alarms) or 'no alarm'}"

    def save(self, path: Path) -> None:
        """Write the picture as SVG."""
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(8, 1.2 + 1.9 * len(self._panels)), layout="constrained")
            all_axes = np.atleast_1d(figure.subplots(len(self._panels), sharex=True))
            for axes, panel in zip(all_axes, self._panels, strict=True):
                _draw(axes, panel)
            all_axes[-1].set_xlabel(self._time_label, color=_INK)
            figure.suptitle(self._title, color=_INK, fontsize=11)
            figure.patch.set_alpha(0)
            FigureCanvasSVG(figure).print_svg(
                path, metadata={"Date": None, "Creator": None, "Description": self.description}
            )

    def main(self) -> None:
        """Write the picture beside its script, or into the folder that is given."""
        script = Path(sys.argv[0])
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else script.parent
        self.save(folder / f"{script.stem}.svg")


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest of each few values where there are more than a picture can show."""
    size = len(values) // (_MOST_POINTS // 2)
    if size < 2:
        return times, values
    used = len(values) // size * size
    blocks = np.nan_to_num(values[:used], nan=np.inf).reshape(-1, size)
    lowest, highest = blocks.argmin(axis=1), np.where(np.isinf(blocks), -np.inf, blocks).argmax(axis=1)
    kept = (np.sort([lowest, highest], axis=0) + np.arange(0, used, size)).T.ravel()
    return times[kept], values[kept]


def _draw(axes: mpl.axes.Axes, panel: Panel) -> None:
    for (times, values, label), colour in zip(panel.lines, _SIGNALS, strict=False):
        axes.plot(times, values, color=colour, linewidth=1.1, label=label or None)
    for times, values, label in panel.limits:
        axes.plot(times, values, color=_LIMIT, linewidth=1, linestyle="--", label=label or None)
    _, right = axes.get_xlim()
    for fired, resolved, label in panel.alarms:
        axes.axvline(fired, color=_ALARM, linewidth=1.2)
        axes.axvspan(fired, right if resolved is None else resolved, color=_ALARM, alpha=0.12, linewidth=0, label=label)
    axes.margins(x=0)
    axes.patch.set_alpha(0)
    axes.set_ylabel(panel.label, color=_INK)
    axes.tick_params(colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=8, loc="upper left")
