"""`holter top` on a terminal, built on Textual: the keyboard, the size, and a look each interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from holter import words
from holter.chosen import Choice
from holter.view.grid import Line, Role
from holter.view.screen import Page, page
from holter.view.vitalsigns import Vitals
from holter.view.wanted import ORDERS, WINDOWS, View
from holter.view.watched import Watched

_STYLES: Final[dict[Role, str]] = {
    "plain": "",
    "title": "bold",
    "head": "bold cyan",
    "dim": "dim",
    "name": "bold",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "curve": "cyan",
    "key": "reverse",
}
_HELP: Final = (
    ("↑ ↓  j k", "select a call: its stages and errors alone"),
    ("PgUp PgDn", "scroll; Home, End: to the ends"),
    ("s", "sort by the next column: rate, p99, errors, oldest, name"),
    ("r", "the other way round"),
    ("g", "the processes of a service summed, or each apart"),
    ("w", "figures of the last interval, of 10 s, of a minute"),
    ("p, space", "pause, and go on"),
    ("o", "look at something else that runs"),
    ("q", "quit"),
)


class _Face(Widget):
    """The page, as it is drawn."""

    def render(self) -> Text:
        """Return the page for the size that there is."""
        app = self.app
        return app.drawn() if isinstance(app, TopApp) else Text("")


class _Help(ModalScreen[None]):
    """The keys, until one is pressed."""

    DEFAULT_CSS = """
    _Help { align: center middle; }
    _Help Static { width: auto; height: auto; border: round cyan; padding: 1 2; background: $surface; }
    """

    def compose(self) -> ComposeResult:
        """Show the keys and what they do."""
        width = max(len(keys) for keys, _ in _HELP)
        lines = [Text.assemble((f"{keys:<{width}}", "bold"), f"  {what}") for keys, what in _HELP]
        yield Static(Text("\n").join(lines))

    def on_key(self) -> None:
        """Close it."""
        self.dismiss()


class _Chooser(ModalScreen[Choice | None]):
    """The list of what can be looked at."""

    DEFAULT_CSS = """
    _Chooser { align: center middle; }
    _Chooser OptionList { width: 90%; max-width: 100; height: auto; max-height: 80%; }
    _Chooser OptionList, _Chooser OptionList:focus { border: round cyan; background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "back")]

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._choices = list(choices)

    def compose(self) -> ComposeResult:
        """Show the choices, none of them as markup."""
        shown = OptionList(*(Option(Text(choice.label()), id=str(place)) for place, choice in enumerate(self._choices)))
        shown.border_title = "What to look at: ↑ ↓ and Enter"
        yield shown

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take what is chosen."""
        self.dismiss(self._choices[event.option_index])

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)


class TopApp(App[None]):
    """
    The *view* of one of *choices*, looked at each interval; with several the user is asked first.

    *find* returns what else can be looked at.
    """

    CSS = """
    Screen { background: ansi_default; }
    _Face { width: 100%; height: 100%; background: ansi_default; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit", priority=True),
        Binding("up,k", "select(-1)", "up"),
        Binding("down,j", "select(1)", "down"),
        Binding("pageup", "scroll(-1)", "scroll up"),
        Binding("pagedown", "scroll(1)", "scroll down"),
        Binding("home", "scroll(-1000)", "top"),
        Binding("end", "scroll(1000)", "end"),
        Binding("s", "order", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("g", "apart", "apart"),
        Binding("w", "window", "window"),
        Binding("p,space", "pause", "pause"),
        Binding("o", "choose", "others"),
        Binding("escape", "unselect", "unselect"),
        Binding("question_mark,h,f1", "help", "help"),
    ]

    def __init__(self, choices: Sequence[Choice], view: View, find: Callable[[], list[Choice]]) -> None:
        super().__init__(ansi_color=True)
        self._choices, self._find, self.view = list(choices), find, view
        self.figures: Vitals | None = None
        # Kept, as a query finds it only while no list lies above it.
        self._face = _Face()
        self._watched: Watched | None = None
        self._scrolled = 0
        self._page: Page | None = None
        self._own_cpu, self._own_since, self._own_share = time.process_time(), time.monotonic(), 0.0

    def compose(self) -> ComposeResult:
        """Show one page."""
        yield self._face

    def on_mount(self) -> None:
        """Begin to look, or ask at what."""
        if len(self._choices) == 1:
            self._look_at(self._choices[0])
        else:
            self.push_screen(_Chooser(self._choices), self._look_at)

    def _look_at(self, choice: Choice | None) -> None:
        if choice is None:
            if self._watched is None:
                self.exit()
            return
        self._watched, self.figures, self._scrolled = Watched(choice, self.view.interval_seconds), None, 0
        self.view = replace(self.view, selected=None)
        self.run_worker(self._watch(self._watched), exclusive=True, group="watch")

    async def _watch(self, watched: Watched) -> None:
        """Look each interval, or sooner where a key asks for other figures."""
        due = time.monotonic()
        while True:
            view = self.view
            if not view.is_paused:
                # In a thread, so that a look at many processes does not hold up the keys.
                figures = await asyncio.to_thread(watched.look, window_seconds=view.window_seconds, apart=view.is_apart)
                if not self.view.is_paused:
                    self.figures = figures
                    self._measure()
                    self._face.refresh()
            # The second look comes soon, as the first one knows no rates.
            is_first = self.figures is not None and not self.figures.interval_seconds
            due = max(due + (min(0.3, view.interval_seconds) if is_first else view.interval_seconds), time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _measure(self) -> None:
        """Note what share of a CPU this program has used lately."""
        cpu, now = time.process_time(), time.monotonic()
        if now - self._own_since >= 3.0:  # noqa: PLR2004 - shorter is noise
            self._own_share = (cpu - self._own_cpu) / (now - self._own_since)
            self._own_cpu, self._own_since = cpu, now

    # -- drawing

    def drawn(self) -> Text:
        """Return the page for the size that there is, as text in which nothing is markup."""
        width, height = self.size
        if self.figures is None or self._watched is None:
            return Text("")
        shown = self._page = page(self.figures, self.view, self._watched.courses, width)
        head = list(shown.head)[: max(1, height - 4)]
        room = max(1, height - len(head) - 2)
        self._scrolled = max(0, min(self._scrolled, len(shown.body) - room))
        selected = next((line for line, key in shown.rows.items() if key == self.view.selected), None)
        if selected is not None:
            self._scrolled = min(max(self._scrolled, selected - room + 1), max(0, selected - 1))
        lines = [_styled(line) for line in head] + [Text("")]
        body = shown.body[self._scrolled : self._scrolled + room]
        for place, line in enumerate(body, self._scrolled):
            lines.append(_styled(line, is_selected=place == selected))
        lines += [Text("")] * (height - len(lines) - 1)
        lines.append(self._foot(width, len(shown.body) - self._scrolled - len(body)))
        return Text("\n", no_wrap=True, end="").join(lines[:height])

    def _foot(self, width: int, below: int) -> Text:
        more = f"  {below} below" if below > 0 else ""
        apart = "sum" if self.view.is_apart else "apart"
        keys = (
            ("q", "quit"),
            ("↑↓", "select"),
            ("s", "sort"),
            ("g", apart),
            ("w", "window"),
            ("p", "pause"),
            ("?", "help"),
        )
        foot = Text(no_wrap=True)
        for key, what in keys:
            foot.append(key, "bold").append(f" {what}  ", "dim")
        right = f"{more}  own CPU {words.ratio(float(f'{self._own_share:.1g}'))}" if self._own_share else more
        foot.append(right.rjust(max(0, width - foot.cell_len)), "dim")
        foot.truncate(width)
        return foot

    # -- keys

    def _change(self, **what: object) -> None:
        self.view = replace(self.view, **what)  # type: ignore[arg-type]  # each caller names a field and its value
        self._face.refresh()

    def action_select(self, step: int) -> None:
        """Select the next row, or the one before."""
        rows = list(self._page.rows.values()) if self._page is not None else []
        if not rows:
            return
        at = rows.index(self.view.selected) + step if self.view.selected in rows else (0 if step > 0 else -1)
        self._change(selected=rows[max(0, min(at, len(rows) - 1))] if at != -1 or step < 0 else rows[0])

    def action_unselect(self) -> None:
        """Select no row."""
        self._change(selected=None)

    def action_scroll(self, pages: int) -> None:
        """Scroll by some pages."""
        self._scrolled = max(0, self._scrolled + pages * max(1, self.size.height // 2))
        self._change(selected=None)

    def action_order(self) -> None:
        """Sort by the next column."""
        self._change(order=ORDERS[(ORDERS.index(self.view.order) + 1) % len(ORDERS)])

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._change(is_reversed=not self.view.is_reversed)

    def action_apart(self) -> None:
        """Show each process apart, or the sum, from the next look on."""
        self._change(is_apart=not self.view.is_apart)

    def action_window(self) -> None:
        """Show the figures of a longer time, from the next look on."""
        self._change(window_seconds=WINDOWS[(WINDOWS.index(self.view.window_seconds) + 1) % len(WINDOWS)])

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self._change(is_paused=not self.view.is_paused)

    def action_choose(self) -> None:
        """Ask what to look at."""
        found = self._find()
        if found:
            self.push_screen(_Chooser(found), self._look_at)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(_Help())


def _styled(line: Line, *, is_selected: bool = False) -> Text:
    text = Text(no_wrap=True)
    for piece in line:
        # A curve in reverse is none.
        text.append(piece.text, "reverse" if is_selected and piece.role != "curve" else _STYLES[piece.role])
    return text
