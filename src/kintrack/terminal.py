"""What a person at a terminal sees: progress, tables, warnings. Results go to stdout, everything else to stderr."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from kintrack.core.tracks import Tracks
    from kintrack.follow import Progress
    from kintrack.metrics import Decisions, Evaluation


def console(stderr: bool = True) -> "Console":
    """Where to write; plain and wide where the reader is a file or a program."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False)
    return screen if screen.is_terminal else Console(stderr=stderr, highlight=False, width=200)


def say(text: str, quiet: bool = False) -> None:
    """A line of the result."""
    if not quiet:
        console(stderr=False).print(text, markup=False, soft_wrap=True)


class Warnings(logging.Handler):
    """What the package warns of, and what it has to note, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        word = "[yellow]warning:[/yellow]" if record.levelno >= logging.WARNING else "[dim]note:[/dim]"
        console().print(f"{word} {plain(record.getMessage())}", soft_wrap=True)


def plain(text: str) -> str:
    """Text in which brackets are brackets, not styles."""
    from rich.markup import escape

    return escape(text)


@contextmanager
def progress_bars(quiet: bool) -> "Iterator[Progress | None]":
    """Bars with frames a second and the time left, on a terminal; nothing where nobody looks."""
    screen = console()
    if quiet or not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks or bars.tasks[tasks[what]].completed > done:  # the next file begins
                tasks[what] = bars.add_task(what, rate="")
            speed = bars.tasks[tasks[what]].speed
            bars.update(tasks[what], completed=done, total=total, rate=f"{speed:.0f} frames/s" if speed else "")

        yield tell


def print_scores(results: "Mapping[str, Evaluation]", first: str = "sequence") -> None:
    """One sequence: every measure and what it means. Several: a line each, with the chief measures."""
    from rich.table import Table

    from kintrack.metrics import MEASURES

    table = Table(box=None, header_style="bold")
    if len(results) == 1:
        (found,) = results.values()
        for column in ("measure", "value", "meaning"):
            table.add_column(column, justify="right" if column == "value" else "left")
        for name, meaning in MEASURES.items():
            table.add_row(name, _number(name, found[name]), f"[dim]{plain(meaning)}[/dim]")
    else:
        table.add_column(first)
        for name in _CHIEF:
            table.add_column(name, justify="right")
        for sequence, found in results.items():
            table.add_row(plain(sequence), *(_number(name, found[name]) for name in _CHIEF))
    console(stderr=False).print(table)
    whole = next(iter(results.values())) if len(results) == 1 else results.get("all")
    if whole is not None and len(whole.decisions):
        say(confidence_line(whole.decisions))


def confidence_line(decisions: "Decisions") -> str:
    """What an evaluation says of the confidences: do they hold, and do they find the mistakes?"""
    from kintrack.metrics import calibration, review

    found = calibration(decisions.confidence, decisions.right)
    links = int(decisions.is_link.sum())
    judged = f"{links:,} links and {found.n - links:,} starts judged, {found.n_wrong:,} wrong"
    head = f"confidence: {judged}; ECE {found.ece:.3f}"
    if not found.n_wrong:
        return head
    held = review(decisions.confidence, decisions.right)
    return f"{head}; the least sure 2 % hold {held:.0%} of the wrong ones"


def review_line(tracks: "Tracks", frames: int) -> str:
    """Which frames to look at first, where any link or start is doubtful; nothing where none is."""
    from kintrack.core.tracks import REVIEW_BELOW

    doubtful, chosen = tracks.doubtful(len(tracks)), tracks.doubtful(frames)
    if not len(chosen):
        return ""
    listed = sorted(set(tracks.detections.frame[chosen].tolist()))
    named = ", ".join(map(str, listed[:_LISTED])) + (", …" if len(listed) > _LISTED else "")
    number = f"{len(listed)} " if len(listed) > 1 else ""
    most = f" the {number}least sure" if len(chosen) < len(doubtful) else ""
    word = "frame" if len(listed) == 1 else "frames"
    head = f"links and starts with a confidence below {REVIEW_BELOW}: {len(doubtful):,}"
    return f"{head}; look first at{most} {word} {named} (counted from 0)"


def print_facts(facts: Mapping[str, Any]) -> None:
    """What `kintrack info` says: a name and its value, or several values under each other."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        lines = [f"{k}  {v}" for k, v in value.items()] if isinstance(value, Mapping) else value
        text = lines if isinstance(lines, str) else "\n".join(lines) or "none"
        table.add_row(f"[bold]{name}[/bold]", plain(text))
    console(stderr=False).print(table)


_LISTED = 12
"""Frames that a line names."""
_CHIEF = ("hota", "deta", "assa", "idf1", "mota", "num_switches", "switches_per_100k")


def _number(name: str, value: float) -> str:
    """Counts whole, shares with three digits, `-` for what is undefined."""
    if value != value:
        return "-"
    if name == "switches_per_100k":
        return f"{value:.1f}"
    is_count = name.startswith("num_") or name.endswith(("_tracked", "_lost")) or name in ("idtp", "idfp", "idfn")
    return f"{value:.0f}" if is_count else f"{value:.3f}"
