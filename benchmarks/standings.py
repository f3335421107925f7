"""Tables of a comparison of trackers: how each did, how much of that is the noise, and which goals are reached."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from report import markdown

Scores = dict[str, Any]
"""The measures of one tracker on one sequence in one condition, with one seed of the noise."""
Found = Mapping[str, Sequence[Scores]]
"""By tracker."""

OURS, PLAIN = "kintrack", "motion"
"""How the names of our models begin, and the name of the one without weights. Everybody else is a peer."""
LESS_ERROR = {"clean": 0.5, "third": 0.5, "noisy": 0.7}
"""By condition: the largest share of the best peer's error (1 - AssA) that is the goal, ..."""
FEWER_SWITCHES = {"clean": 0.25, "third": 0.25, "noisy": 1 / 3}
"""... and of the fewest switches of a peer."""
SUMS = ("num_switches", "frames", "seconds", "unassigned", "rows")


def pick(scores: Iterable[Scores], group: str | None = None, condition: str | None = None) -> list[Scores]:
    """The scores of a group, in a condition."""
    return [s for s in scores if group in (None, s["group"]) and condition in (None, s["condition"])]


def pooled(scores: Sequence[Scores]) -> Scores:
    """Sequences together: the mean of AssA and of IDF1 (each sequence counts the same), the sum of everything else.

    Over several seeds, the mean of what each of them gives.
    """
    n_seeds = len({s["seed"] for s in scores})
    mean = {name: sum(s[name] for s in scores) / len(scores) for name in ("assa", "idf1")}
    return mean | {name: sum(s[name] for s in scores) / n_seeds for name in SUMS}


def by_seed(scores: Sequence[Scores]) -> list[Scores]:
    """What each seed gives, over the sequences."""
    return [pooled([s for s in scores if s["seed"] == seed]) for seed in sorted({s["seed"] for s in scores})]


def groups_in(found: Found, condition: str) -> list[str]:
    """The groups that were measured in a condition, in the order of the halves."""
    return list(dict.fromkeys(s["group"] for scores in found.values() for s in pick(scores, condition=condition)))


def cell(scores: Scores) -> str:
    return f"{scores['assa']:.3f} / {scores['idf1']:.3f} / {scores['num_switches']:.0f}"


def whole_table(condition: str, found: Found) -> str:
    """Trackers under each other, groups of sequences beside each other."""
    groups, rows = groups_in(found, condition), []
    for name, scores in found.items():
        here = pick(scores, condition=condition)
        total = pooled(here)
        cells = [cell(pooled(pick(here, group))) for group in groups] + ([cell(total)] if len(groups) > 1 else [])
        alone = 1000 * total["unassigned"] / total["rows"]
        rows.append([name, *cells, f"{alone:.0f}", f"{total['frames'] / total['seconds']:.0f}"])
    return markdown(["", *groups, *(["all"] if len(groups) > 1 else []), "alone", "frames/s"], rows)


def range_table(condition: str, found: Found) -> str:
    """The least and the greatest AssA and number of switches over the seeds."""
    groups, rows = groups_in(found, condition), []
    for name, scores in found.items():
        cells = []
        for group in groups:
            each = by_seed(pick(scores, group, condition))
            assa, switches = sorted(s["assa"] for s in each), sorted(s["num_switches"] for s in each)
            cells.append(f"{assa[0]:.3f}–{assa[-1]:.3f} / {switches[0]:.0f}–{switches[-1]:.0f}")
        rows.append([name, *cells])
    return markdown(["", *groups], rows)


def short_table(found: Found, variants: Mapping[str, Sequence[str]]) -> str:
    """Groups and conditions under each other, trackers beside each other: AssA and switches, the best in bold.

    Args:
        variants: by the name of a column, the trackers of which the one with the best mean AssA is shown.
    """
    columns = {name: max(keys, key=lambda key: pooled(found[key])["assa"]) for name, keys in variants.items()}
    rows = []
    for condition in dict.fromkeys(s["condition"] for scores in found.values() for s in scores):
        for group in groups_in(found, condition):
            scores = [pooled(pick(found[key], group, condition)) for key in columns.values()]
            assa = [f"{s['assa']:.3f}" for s in scores]
            switches = [f"{s['num_switches']:.0f}" for s in scores]
            best, fewest = max(assa), min(switches, key=int)
            cells = [f"{_bold(a, best)} / {_bold(n, fewest)}" for a, n in zip(assa, switches, strict=True)]
            rows.append([f"{group}, {condition}", *cells])
    return markdown(["AssA / switches", *columns], rows)


def _bold(text: str, best: str) -> str:
    return f"**{text}**" if text == best else text


def goals_table(found: Found, ours: str) -> str:
    """Our error and switches over the best peer's, for each group and condition, and whether that is as wanted."""
    peers = [name for name in found if not name.startswith(OURS) and name != PLAIN]
    if ours not in found or not peers:
        return "not computed: it takes kintrack and at least one peer."
    rows = []
    for condition, most in LESS_ERROR.items():
        for group in groups_in(found, condition):
            at = {name: pooled(pick(found[name], group, condition)) for name in found}
            nearest = max(peers, key=lambda name: at[name]["assa"])
            calmest = min(peers, key=lambda name: at[name]["num_switches"])
            error = 1.0 - at[ours]["assa"], 1.0 - at[nearest]["assa"]
            switches = at[ours]["num_switches"], at[calmest]["num_switches"]
            rows.append(
                [
                    f"{group}, {condition}",
                    f"{error[0]:.3f} / {error[1]:.3f}",
                    nearest,
                    _ratio(*error, most),
                    f"{switches[0]:.0f} / {switches[1]:.0f}",
                    calmest,
                    _ratio(*switches, FEWER_SWITCHES[condition]),
                    _beats(at[ours], at[PLAIN]) if PLAIN in at else "not measured",
                ]
            )
    head = ["", "error", "of", "ratio", "switches", "of", "ratio", f"above {PLAIN}"]
    return markdown(head, rows)


def _ratio(own: float, other: float, most: float) -> str:
    """A ratio, what it should be, and whether it is; where the peer makes no mistake, ours should make none."""
    reached = own <= most * other + 1e-9
    shown = f"{own / other:.2f}" if other > 1e-9 else ("none to beat" if own <= 1e-9 else "∞")
    return f"{shown} ≤ {most:.2f} {'✓' if reached else '✗'}"


def _beats(ours: Scores, plain: Scores) -> str:
    """Whether AssA is higher and switches are not more than the plain model's; neither can beat a perfect score."""
    perfect = plain["assa"] > 1.0 - 1e-9
    better = ours["assa"] > plain["assa"] or (perfect and ours["assa"] > 1.0 - 1e-9)
    fewer = ours["num_switches"] <= plain["num_switches"]
    numbers = f"{plain['assa']:.3f} / {plain['num_switches']:.0f}"
    return f"{numbers} {'✓' if better and fewer else '✗'}"
