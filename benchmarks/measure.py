"""How long a command takes, and how much memory: whole processes, start to end.

python measure.py COMMAND ...     prints JSON: seconds, cpu_seconds, peak_mb, tree_mb, code, tail of what it said
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """Of a command, over several runs."""

    seconds: float
    """Median, wall clock."""
    fastest: float
    """The fastest run."""
    peak_mb: float
    """Greatest resident memory of any run, with the processes it waited for; nan where the system does not say."""
    runs: int
    cpu_seconds: float = float("nan")
    """Of the run in which the processors worked least, with the processes it waited for: other people's work does not
    count. nan where the system does not say."""
    tree_mb: float = float("nan")
    """Greatest resident memory of all of its processes together, looked at twenty times a second; nan where there is no
    /proc."""

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s (fastest {self.fastest:.2f}), {self.peak_mb:.0f} MB, {self.runs} runs"


class CommandFailed(Exception):
    """A measured command ended with an error."""


def measure(
    command: Sequence[str | Path],
    runs: int = 3,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """The cost of a command. Each run is started by a small process of its own.

    A process inherits the peak memory of the one that starts it, until it is larger itself; so that must be small.

    Args:
        command: the program and its arguments.
        runs: one after the other.
        folder: where the command is started; here where not given.
        environment: variables that are set for it.

    Raises:
        CommandFailed: it ended with an error; what it said last is in the message.
    """
    found = []
    for _ in range(runs):
        started = subprocess.run(
            [sys.executable, "-S", str(Path(__file__).resolve()), *map(str, command)],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
        one = json.loads(started.stdout)
        if one["code"]:
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {one['code']}:\n{one['tail']}")
        found.append(one)
    seconds = [one["seconds"] for one in found]
    most = [max(one[name] for one in found) for name in ("peak_mb", "tree_mb")]
    return Cost(
        statistics.median(seconds), min(seconds), most[0], runs, min(one["cpu_seconds"] for one in found), most[1]
    )


class _Tree(threading.Thread):
    """Watches the memory of a process and of all that descend from it."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak, self.over = root, float("nan"), threading.Event()

    def run(self) -> None:
        while Path("/proc/self/stat").is_file() and not self.over.wait(0.05):
            self.peak = max(_resident_mb(self.root), 0.0 if math.isnan(self.peak) else self.peak)


def _resident_mb(root: int) -> float:
    """Of a process and its descendants, now."""
    parent, pages = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            pages[int(entry.name)] = int((entry / "statm").read_text().split()[1])
        except OSError:  # it is gone
            continue
    inside, size = {root}, -1
    while len(inside) > size:
        size = len(inside)
        inside |= {pid for pid, above in parent.items() if above in inside}
    return sum(pages.get(pid, 0) for pid in inside) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _run(command: Sequence[str]) -> dict[str, object]:
    """One run; what the command says goes to a file, so that nothing waits for a reader."""
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        tree = _Tree(process.pid)
        tree.start()
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            code, unit = os.waitstatus_to_exitcode(status), 1e6 if sys.platform == "darwin" else 1e3
            peak = usage.ru_maxrss * (1.024 if unit == 1e3 else 1.0) / unit
            cpu = usage.ru_utime + usage.ru_stime
        else:
            code, peak, cpu = process.wait(), float("nan"), float("nan")
        seconds = time.perf_counter() - begin
        tree.over.set()
        said.seek(max(0, said.seek(0, os.SEEK_END) - 3000))
        numbers = {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak, "tree_mb": tree.peak, "code": code}
        return numbers | {"tail": said.read().decode(errors="replace")}


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1:])))
