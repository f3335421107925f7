"""The answer of an evaluation: plain numbers by name, with what they were made of."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from kintrack._version import __version__
from kintrack.core.detections import Floats
from kintrack.errors import InputError, nearest_name
from kintrack.metrics import hota, mot
from kintrack.metrics.calibration import Decisions
from kintrack.metrics.hota import HotaCounts
from kintrack.metrics.mot import ClearCounts, IdentityCounts

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "hota": "finding and following in one, over 19 thresholds",
        "deta": "how well individuals are found",
        "assa": "how well individuals are followed",
        "loca": "how well matched rows fit",
        "detre": "how much of the truth is found",
        "detpr": "how much of the prediction is true",
        "assre": "how little individuals are split among tracks",
        "asspr": "how little tracks mix individuals",
        "hota_0": "HOTA at the lowest threshold, 0.05",
        "loca_0": "LocA at the lowest threshold",
        "hota_loca_0": "HOTA(0) times LocA(0)",
        "idf1": "how much of both carries the right identity",
        "idp": "how much of the prediction carries the right identity",
        "idr": "how much of the truth carries the right identity",
        "idtp": "rows with the right identity",
        "idfp": "predicted rows without",
        "idfn": "true rows without",
        "mota": "1 - mistakes for each true row",
        "motp": "mean similarity of matches",
        "recall": "how much of the truth is matched",
        "precision": "how much of the prediction is matched",
        "num_switches": "changes of identity",
        "switches_per_100k": "changes of identity for 100,000 true rows",
        "num_fragmentations": "times an individual is found again",
        "num_misses": "true rows without a match",
        "num_false_positives": "predicted rows without a match",
        "num_detections": "true rows with a match",
        "num_objects": "true rows",
        "num_predictions": "predicted rows",
        "num_unique_objects": "individuals",
        "mostly_tracked": "individuals matched in more than 80 % of their rows",
        "partially_tracked": "in 20 % to 80 %",
        "mostly_lost": "in less than 20 %",
        "num_mixed_tracks": "tracks matched to more than one individual",
        "num_split_objects": "individuals matched to more than one track",
    }
)
"""Every measure and what it says, in the order of the table."""

_BY_ALPHA = ("hota", "deta", "assa", "loca", "detre", "detpr", "assre", "asspr")
_COUNTS = ("num_switches", "num_fragmentations", "num_misses", "num_false_positives", "num_detections", "num_objects",
           "num_predictions", "num_unique_objects", "mostly_tracked", "partially_tracked", "mostly_lost",
           "num_mixed_tracks", "num_split_objects")  # fmt: skip
_SHORT = ("hota", "deta", "assa", "idf1", "mota", "num_switches", "switches_per_100k", "recall", "precision")


@dataclass(frozen=True, eq=False)
class Counts:
    """Everything that was counted; every measure follows from it, and pooling sequences is adding it."""

    clear: ClearCounts
    identity: IdentityCounts
    hota: HotaCounts
    decisions: Decisions = field(default_factory=Decisions)


class Evaluation(Mapping[str, float]):
    """How well a prediction did: measures by name, plain floats; nan where a measure is undefined.

    The names are py-motmetrics' where it has one; `MEASURES` says what each means.

    Attributes:
        counts: what was counted.
        provenance: what was compared and how: matcher, threshold, version of kintrack, frames, sequences.
        decisions: what the tracker was how sure of, and whether it was right; none where the prediction does not say.
        by_alpha: the HOTA family at each of the 19 thresholds `kintrack.metrics.hota.ALPHAS`.
    """

    def __init__(self, counts: Counts, provenance: Mapping[str, Any]) -> None:
        self.counts = counts
        self.decisions = counts.decisions
        self.provenance = MappingProxyType({"kintrack": __version__, **provenance})
        curves: dict[str, Floats] = {name: getattr(hota, name)(counts.hota) for name in _BY_ALPHA}
        for curve in curves.values():
            curve.flags.writeable = False
        self.by_alpha = MappingProxyType(curves)
        found = {name: float(curve.mean()) for name, curve in curves.items()}
        found |= {"hota_0": float(curves["hota"][0]), "loca_0": float(curves["loca"][0])}
        found["hota_loca_0"] = found["hota_0"] * found["loca_0"]
        found |= {name: getattr(mot, name)(counts.identity) for name in ("idf1", "idp", "idr")}
        found |= {name: float(getattr(counts.identity, name)) for name in ("idtp", "idfp", "idfn")}
        found |= {
            name: getattr(mot, name)(counts.clear)
            for name in ("mota", "motp", "recall", "precision", "switches_per_100k")
        }
        found |= {name: float(getattr(counts.clear, name)) for name in _COUNTS}
        self._found = {name: found[name] for name in MEASURES}

    def __getitem__(self, name: str) -> float:
        if name not in self._found:
            raise KeyError(f"no measure is called {name!r}: {nearest_name(str(name), self._found)}")
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(f'{name} {_cell(name, self[name])}' for name in _SHORT[:6])})"

    def table(self, names: Iterable[str] | None = None) -> str:
        """The measures for a person to read: name, value, meaning. All of them, or those named."""
        rows = [(name, _cell(name, self[name]), MEASURES[name]) for name in (names or MEASURES)]
        width = max(len(cell) for _, cell, _ in rows)
        made = ", ".join(f"{key} {value}" for key, value in self.provenance.items() if not isinstance(value, list))
        return "\n".join([*(f"{name:<18}  {cell:>{width}}  {what}" for name, cell, what in rows), made])

    def to_dict(self) -> dict[str, Any]:
        """Measures, curves over alpha, confidence and provenance, as JSON takes them: None stands for nan."""
        curves = {name: [_or_none(value) for value in curve.tolist()] for name, curve in self.by_alpha.items()}
        measures = {name: _or_none(value) for name, value in self.items()}
        sure = self.decisions.to_dict() if len(self.decisions) else None
        return {"measures": measures, "by_alpha": curves, "confidence": sure, "provenance": dict(self.provenance)}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _cell(name: str, value: float) -> str:
    """A number as people write it: counts whole, shares with three digits, `-` for undefined."""
    if np.isnan(value):
        return "-"
    if name in _COUNTS or name in ("idtp", "idfp", "idfn"):
        return f"{value:.0f}"
    return f"{value:.1f}" if name == "switches_per_100k" else f"{value:.3f}"


def combine(evaluations: Mapping[str, Evaluation] | Sequence[Evaluation]) -> Evaluation:
    """Several sequences as one: what was counted is added, the measures follow from the sums.

    As TrackEval's COMBINED: a sequence weighs by its rows, not as one of n. A track of one sequence is never one of
    another.

    Raises:
        InputError: where there is nothing to combine, or where the sequences were matched in different ways.
    """
    named = dict(evaluations) if isinstance(evaluations, Mapping) else dict(enumerate(evaluations))
    found = list(named.values())
    if not found:
        raise InputError("nothing to combine; give the evaluation of one sequence at least")
    first = found[0].provenance
    for name, other in named.items():
        for key in ("match", "threshold", "distance", "unit", "untracked"):
            if other.provenance.get(key) != first.get(key):
                raise InputError(
                    f"sequence {name!r} was evaluated with {key}={other.provenance.get(key)!r}, others with "
                    f"{first.get(key)!r}; evaluate all in one way to combine them"
                )
    added = {key: sum(e.provenance.get(key, 0) for e in found) for key in ADDED}
    names = [str(name) for name in named]
    counts = Counts(
        clear=_sum([e.counts.clear for e in found]),
        identity=_sum([e.counts.identity for e in found]),
        hota=_sum([e.counts.hota for e in found]),
        decisions=Decisions.pooled([e.counts.decisions for e in found]),
    )
    return Evaluation(counts, {**first, **added, "num_sequences": len(found), "sequences": names})


ADDED = ("num_frames", "untracked_predictions", "ignored_objects", "ignored_predictions")
"""What provenance counts: added up when sequences are combined."""

C = TypeVar("C", ClearCounts, IdentityCounts, HotaCounts)


def _sum(counts: Sequence[C]) -> C:
    first = counts[0]
    return type(first)(**{f.name: sum(getattr(c, f.name) for c in counts) for f in fields(first)})


def table(evaluations: Mapping[str, Evaluation], names: Sequence[str] = _SHORT) -> str:
    """Several evaluations under each other, one line each, for a person to read."""
    rows = [["", *names]] + [[key, *(_cell(n, e[n]) for n in names)] for key, e in evaluations.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
