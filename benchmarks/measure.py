"""How long a command takes, and how much memory: whole processes, start to end.

python measure.py COMMAND ...     prints JSON: seconds, peak_mb, code, tail of what it said
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s (fastest {self.fastest:.2f}), {self.peak_mb:.0f} MB, {self.runs} runs"


class CommandFailed(Exception):
    """A measured command ended with an error."""


def measure(command: Sequence[str | Path], runs: int = 3, folder: Path | None = None) -> Cost:
    """The cost of a command. Each run is started by a small process of its own.

    A process inherits the peak memory of the one that starts it, until it is larger itself; so that must be small.

    Args:
        command: the program and its arguments.
        runs: one after the other.
        folder: where the command is started; here where not given.

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
        )
        one = json.loads(started.stdout)
        if one["code"]:
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {one['code']}:\n{one['tail']}")
        found.append(one)
    seconds = [one["seconds"] for one in found]
    return Cost(statistics.median(seconds), min(seconds), max(one["peak_mb"] for one in found), runs)


def _run(command: Sequence[str]) -> dict[str, object]:
    """One run; what the command says goes to a file, so that nothing waits for a reader."""
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            code, unit = os.waitstatus_to_exitcode(status), 1e6 if sys.platform == "darwin" else 1e3
            peak = usage.ru_maxrss * (1.024 if unit == 1e3 else 1.0) / unit
        else:
            code, peak = process.wait(), float("nan")
        seconds = time.perf_counter() - begin
        said.seek(max(0, said.seek(0, os.SEEK_END) - 3000))
        return {"seconds": seconds, "peak_mb": peak, "code": code, "tail": said.read().decode(errors="replace")}


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1:])))
