"""Every error that kintrack raises on purpose.

    KintrackError
    ├── InputError            what was given cannot be used (also a ValueError)
    │   ├── FormatError       a file says something its format does not allow
    │   ├── AlignmentError    two things that must fit each other do not
    │   └── SomeFailedError   of many files some could not be tracked; the others are done
    ├── ConfigError           an unknown key, or a value that is not allowed (also a ValueError)
    ├── CheckpointError       weights that cannot be loaded, or must not be
    ├── OutputExistsError     a result would be overwritten (also a FileExistsError)
    ├── OutputError           a result cannot be written (also an OSError)
    └── MissingExtraError     a package that is not installed is needed (also an ImportError)

Each message says what was given, what was wanted, and what to do, in that order.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class KintrackError(Exception):
    """The root: catch this to catch everything that kintrack raises on purpose."""


class InputError(KintrackError, ValueError):
    """What was given cannot be used."""


class FormatError(InputError):
    """A file says something that its format does not allow."""


class AlignmentError(InputError):
    """Two things that must fit each other (labels and images, detections and video) do not."""


class SomeFailedError(InputError):
    """Of many files some cannot be used; the others are done.

    Args:
        failed: the error of each that could not be used, by its path.
        done: what came of the others, by the path of their results.
    """

    def __init__(self, failed: Mapping[Path, InputError], done: Mapping[Path, Any]) -> None:
        self.failed, self.done = dict(failed), dict(done)
        lines = "".join(f"\n  {path}: {error}" for path, error in failed.items())
        others = "the others are done" if done else "which is all of them"
        super().__init__(
            f"{len(failed)} of {len(failed) + len(done)} files could not be tracked, {others}; mend these and give "
            f"them alone:{lines}"
        )


class ConfigError(KintrackError, ValueError):
    """An unknown option, or a value that is not allowed for it."""


class CheckpointError(KintrackError):
    """Weights that cannot be loaded, or that are not safe to load."""


class OutputExistsError(KintrackError, FileExistsError):
    """A result would be overwritten."""


class OutputError(KintrackError, OSError):
    """A result cannot be written where it was asked for."""


class MissingExtraError(KintrackError, ImportError):
    """A package is needed that only an extra installs."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: pip install 'kintrack[{extra}]'"
        )


def nearest_name(given: str, known: Iterable[str]) -> str:
    """The sentence that helps after a typing mistake: the nearest known name, else all of them.

    >>> nearest_name("max_trakcs", ["max_tracks", "max_gap"])
    "did you mean 'max_tracks'?"
    >>> nearest_name("zzz", ["a", "b"])
    'known are: a, b'
    """
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "known are: " + ", ".join(names)
