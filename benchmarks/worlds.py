"""Do the simulated worlds cover what real sequences are like? A figure for the docs, and tables.

    python benchmarks/worlds.py             writes benchmarks/results/worlds.md and docs/images/worlds.png
    python benchmarks/worlds.py --quick     fewer worlds; prints the summary and writes nothing

The figure needs the extra `benchmarks`. Everything is compared as training sees it, in clips of 60 frames: of random
worlds, as random detectors see them (what they invent is left out), and of real sequences, at the full frame rate and
every third frame. `random_world` and `random_noise` were set by the sequences under CHOSEN_BY alone; the others are
only shown.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import RESULTS, machine, markdown
from sequences import DATA, REPORTING, TUNING, read_truth

from kintrack import io
from kintrack.core import boxes
from kintrack.core.sightings import neighbours, point_size
from kintrack.core.tracks import Tracks
from kintrack.sim import PRESETS, observe, random_noise, random_world, simulate

Floats = NDArray[np.float64]
Quantities = dict[str, Floats]

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "worlds.png"
FRAMES, WORLDS, MOST_INDIVIDUALS, CLIPS_EACH, VALUES_EACH = 60, 600, 40, 24, 400
DRAWS = 3  # of random worlds, because whether one is near depends on which ones were drawn

QUANTITIES: Mapping[str, tuple[str, float]] = {
    "step": ("displacement in a frame, in sizes", 1e-3),
    "acceleration": ("change of the displacement, in sizes", 1e-3),
    "neighbour": ("distance to the nearest other, in sizes", 0.05),
    "overlap": ("IoU with the other one overlapped most", 0.0),
    "memory": ("velocity's autocorrelation after a frame", 0.0),
    "aspect": ("change of the sides' ratio in a frame, log", 1e-3),
    "growth": ("change of the size in a frame, log", 1e-3),
    "gap": ("frames missing within a track, where any are", 1.0),
    "length": (f"frames of a track, of a clip's {FRAMES}", 1.0),
}
"""What each is, and the least value that is told from 0 on a logarithmic scale; 0.0 for a linear scale."""

DANCE = tuple(f"dancetrack/dancetrack{n}" for n in ("0005", "0007", "0019", "0025", "0035", "0041", "0043", "0047"))
CHOSEN_BY: Mapping[str, tuple[str, ...]] = {
    "bees": TUNING["bees"],
    "birds": TUNING["animals"],
    "balls, cars": TUNING["things"],
    "dancers": DANCE,
    "flies": ("flies/two_flies.slp", "flies/three_flies.slp"),
    "fish": ("fish/ten_zfish.slp",),
    "receptors": TUNING["receptors"],
}
SHOWN: Mapping[str, tuple[str, ...]] = {
    "other bees": REPORTING["bees"],
    "livestock": REPORTING["animals"],
    "planes, boats ...": REPORTING["things"],
    "other dancers": REPORTING["dancers"],
    "other receptors": REPORTING["receptors"],
    "other flies": REPORTING["flies"],
}


def quantities(tracks: Tracks) -> Quantities:
    """Every quantity of a clip, each with as many values as there are rows, links, gaps or tracks that have it."""
    seen = tracks.detections
    unit = boxes.size(seen.box)
    unit = np.where(unit > 0, unit, point_size(seen)) if len(unit) and not (unit > 0).all() else unit
    links = tracks.links()
    apart = np.diff(seen.frame[links], axis=1)[:, 0]
    found = {"gap": (apart[apart > 1] - 1).astype(np.float64)}
    links = links[apart == 1]
    move = np.diff(seen.centre[links], axis=1)[:, 0]
    ends = np.full(len(seen), -1)
    ends[links[:, 1]] = np.arange(len(links))
    before = ends[links[:, 0]]  # the link that ends where this one begins
    later = np.flatnonzero(before >= 0)
    turn = move[later] - move[before[later]]
    found["step"] = np.linalg.norm(move, axis=1) / unit[links[:, 0]]
    found["acceleration"] = np.linalg.norm(turn, axis=1) / unit[links[later, 0]]
    found["memory"] = _memory(move[later], move[before[later]], tracks.track[links[later, 0]])
    solid = links[(boxes.area(seen.box) > 0)[links].all(axis=1)]
    change = np.diff(np.log(boxes.sides(seen.box[solid])), axis=1)[:, 0]
    found["aspect"], found["growth"] = np.abs(change[:, 0] - change[:, 1]), np.abs(change.mean(axis=1))
    found["neighbour"], found["overlap"] = _nearest_other(tracks, unit)
    found["length"] = np.array([last - first + 1.0 for first, last in tracks.spans().values()])
    return found


def _memory(move: Floats, before: Floats, track: NDArray[np.int64]) -> Floats:
    """How alike successive displacements of each track are; only of tracks with ten of them that move at all."""
    n = int(track.max(initial=-1)) + 1
    power = 0.5 * ((move**2).sum(axis=1) + (before**2).sum(axis=1))
    counts, total = np.bincount(track, minlength=n), np.bincount(track, power, minlength=n)
    enough = (counts >= 10) & (total > 0)
    return np.asarray(np.bincount(track, (move * before).sum(axis=1), minlength=n)[enough] / total[enough])


def _nearest_other(tracks: Tracks, unit: Floats) -> tuple[Floats, Floats]:
    """Distance to the nearest other in sizes, and the largest IoU with one of the four nearest others."""
    seen = tracks.detections
    row, other = neighbours(seen.frame, seen.centre, 4).T.reshape(2, -1)
    distance, shared = np.full(len(seen), np.inf), np.zeros(len(seen))
    np.minimum.at(distance, row, np.linalg.norm(seen.centre[row] - seen.centre[other], axis=1) / unit[row])
    np.maximum.at(shared, row, boxes.paired_iou(seen.box[row], seen.box[other]))
    met = np.isfinite(distance)
    return distance[met], shared[met & (boxes.area(seen.box) > 0)]


def random_clips(n: int, seed: int) -> Iterator[Quantities]:
    """Clips of random worlds, seen by random detectors."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        truth = simulate(random_world(rng, FRAMES, MOST_INDIVIDUALS), rng)
        seen, identity = observe(truth, random_noise(rng), rng)
        if (identity >= 0).sum() > FRAMES // 2:
            yield quantities(Tracks(seen, identity).take(identity >= 0))


def named_clips(seed: int) -> Iterator[Quantities]:
    """The worlds that have a name, as they are."""
    for name in PRESETS:
        yield from _cut(simulate({"preset": name, "n_frames": 5 * FRAMES}, seed), 1)


def real_clips(names: Sequence[str], data: Path, every: int) -> Iterator[Quantities]:
    """Stretches of real sequences, of which one in `every` frames is looked at."""
    for name in names:
        in_slp = name.endswith(".slp")
        truth = io.load(data.parent / name) if in_slp else read_truth(data, name)
        known = (truth.track >= 0) & np.isfinite(truth.detections.box).all(axis=1)
        yield from _cut(truth.take(known), every)


def _cut(truth: Tracks, every: int) -> Iterator[Quantities]:
    frame = truth.detections.frame
    first, length = int(frame.min()), FRAMES * every
    starts = np.arange(first, max(int(frame.max()) + 2 - length, first + 1), length)
    for start in starts[np.linspace(0, len(starts) - 1, min(len(starts), CLIPS_EACH)).astype(int)]:
        part = truth.take((frame >= start) & (frame < start + length) & ((frame - start) % every == 0))
        if len(part) > 1:
            renamed = part.detections.with_columns(frame=(part.detections.frame - start) // every)
            yield quantities(Tracks(renamed, part.track))


def pooled(clips: Sequence[Quantities], seed: int = 0) -> Quantities:
    """All clips in one, each with no more than some hundred values, so that crowds do not drown the others."""
    rng = np.random.default_rng(seed)

    def some(values: Floats) -> Floats:
        return rng.choice(values, VALUES_EACH, replace=False) if len(values) > VALUES_EACH else values

    return {name: np.concatenate([some(clip[name]) for clip in clips]) for name in QUANTITIES}


def scaled(name: str, values: Floats) -> Floats:
    """Values on the scale on which they are compared: mostly the logarithmic one."""
    least = QUANTITIES[name][1]
    return np.log10(np.maximum(values, least)) if least else values


def covered(name: str, real: Floats, simulated: Floats) -> float:
    """The share of the range of real values (5 to 95 %) that lies in the range of simulated ones (1 to 99 %)."""
    if not len(real):
        return float("nan")
    low, high = np.quantile(scaled(name, real), [0.05, 0.95])
    least, greatest = np.quantile(scaled(name, simulated), [0.01, 0.99])
    if high - low < 1e-9:
        return float(least <= low <= greatest)
    return float(np.clip((min(high, greatest) - max(low, least)) / (high - low), 0.0, 1.0))


def profile(clip: Quantities) -> Floats:
    """A clip as a point in a space: quartile, median and 95 % quantile of each quantity; nan for what it lacks."""
    spots = [0.25, 0.5, 0.95]
    known = [name for name in QUANTITIES if name not in ("gap", "length")]
    return np.concatenate(
        [scaled(n, np.quantile(clip[n], spots)) if len(clip[n]) else np.full(len(spots), np.nan) for n in known]
    )


def distances(points: Floats, worlds: Floats) -> Floats:
    """(A, B) root mean square difference of profiles, in standard deviations of the worlds, over what both have."""
    spread = np.nanstd(worlds, axis=0)
    apart = ((points[:, None] - worlds[None]) / spread) ** 2
    has = ~np.isnan(apart)
    return np.asarray(np.sqrt(np.where(has, apart, 0.0).sum(axis=2) / np.maximum(has.sum(axis=2), 1)))


class Space:
    """Where a draw of worlds lies, all quantities at once."""

    def __init__(self, worlds: Sequence[Quantities]) -> None:
        self._places = np.stack([profile(world) for world in worlds])
        own = distances(self._places, self._places)
        np.fill_diagonal(own, np.inf)
        self._usual = np.quantile(own.min(axis=1), 0.95)

    def share_inside(self, clips: Sequence[Quantities]) -> float:
        """The share of clips that have a world as near as 95 % of the worlds have another one."""
        nearest = distances(np.stack([profile(clip) for clip in clips]), self._places).min(axis=1)
        return float((nearest <= self._usual).mean())


def summary(simulated: Quantities, spaces: Sequence[Space], real: Mapping[str, Sequence[Quantities]]) -> str:
    """How much of each real range the random worlds cover, and how many real clips have a world like them."""
    rows = []
    for group, clips in real.items():
        everything = pooled(clips)
        shares = [covered(name, everything[name], simulated[name]) for name in QUANTITIES]
        cells = ["–" if np.isnan(share) else f"{100 * share:.0f}" for share in shares]
        alike = sorted((f"{100 * space.share_inside(clips):.0f}" for space in spaces), key=int)
        rows.append([group, str(len(clips)), *cells, alike[0] if alike[0] == alike[-1] else f"{alike[0]}–{alike[-1]}"])
    return markdown(["", "clips", *QUANTITIES, "all at once"], rows)


def cost(n: int, seed: int) -> str:
    """What a clip of 40 frames and 20 individuals takes to be made and observed."""
    rng, spent = np.random.default_rng(seed), []
    for _ in range(n):
        world = random_world(rng, 40, MOST_INDIVIDUALS).model_copy(update={"n_individuals": 20})
        noise, begin = random_noise(rng), time.process_time()
        observe(simulate(world, rng), noise, rng)
        spent.append(1000 * (time.process_time() - begin))
    mean, most = np.mean(spent), np.quantile(spent, 0.9)
    return (
        f"A clip of 40 frames and 20 individuals takes {mean:.0f} ms of one core; one clip in ten over {most:.0f} ms."
    )


def quantile_tables(groups: Mapping[str, Sequence[Quantities]]) -> Iterator[str]:
    """A table for each quantity: its quantiles in each group."""
    everything = {group: pooled(clips) for group, clips in groups.items()}
    for name, (meaning, _) in QUANTITIES.items():
        rows = []
        for group, found in everything.items():
            if len(found[name]):
                values = np.quantile(found[name], [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
                rows.append([group, *(f"{value:.3g}" for value in values)])
        yield f"### {name}: {meaning}\n\n" + markdown(["", "1 %", "5 %", "25 %", "50 %", "75 %", "95 %", "99 %"], rows)


def draw(groups: Mapping[str, Sequence[Quantities]], path: Path) -> None:
    """A panel for each quantity, a line for each group: 5 to 95 % thin, the middle half thick, the median a dot."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    everything = {group: pooled(clips) for group, clips in groups.items()}
    colours = {group: "#b45309" if group in CHOSEN_BY else "#64748b" for group in groups}
    colours |= {"random worlds": "#0f766e", "named worlds": "#0f766e"}
    figure, axes = plt.subplots(3, 3, figsize=(10.5, 9.0), sharey=True, layout="constrained")
    for axis, (name, (meaning, least)) in zip(axes.flat, QUANTITIES.items(), strict=True):
        shade = np.quantile(np.maximum(everything["random worlds"][name], least or -9.0), [0.01, 0.99])
        axis.axvspan(*shade, color="#0f766e", alpha=0.12, lw=0)
        for place, (group, found) in enumerate(everything.items()):
            if len(found[name]):
                values = np.maximum(found[name], least) if least else found[name]
                low, lower, middle, upper, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
                axis.plot([low, high], [place, place], color=colours[group], lw=1.2, solid_capstyle="butt")
                axis.plot([lower, upper], [place, place], color=colours[group], lw=4.5, solid_capstyle="butt")
                axis.plot(middle, place, "o", color="white", mec=colours[group], ms=4.5)
        axis.set_xscale("log" if least else "linear")
        axis.set_title(meaning, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", color="#e2e8f0", lw=0.6)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(everything)), list(everything))
    axes[0, 0].invert_yaxis()
    for axis in axes[:, 0]:
        for label in axis.get_yticklabels():
            label.set_color(colours.get(label.get_text(), "black"))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=85, metadata={"Software": None})


def main() -> None:
    options = arguments()
    n = WORLDS // 4 if options.quick else WORLDS
    draws = [list(random_clips(n, options.seed + draw)) for draw in range(1 if options.quick else DRAWS)]
    simulated, spaces = pooled(draws[0]), [Space(worlds) for worlds in draws]
    full, third = (
        {group: list(real_clips(names, options.data, every)) for group, names in {**CHOSEN_BY, **SHOWN}.items()}
        for every in (1, 3)
    )
    groups: dict[str, Any] = {"random worlds": draws[0], "named worlds": list(named_clips(options.seed))} | full
    text = [
        "# Simulated worlds beside real sequences",
        f"`python benchmarks/worlds.py`, seed {options.seed}. {machine(('kintrack', 'numpy'))}.",
        f"{n} random worlds and real sequences, in clips of {FRAMES} frames. A number is how many percent of "
        "the range of real values (5 to 95 %) lie in the range of the random worlds (1 to 99 %). The last column is "
        "how many percent of the real clips have a world as near, in all quantities at once (quartile, median and 95 % "
        "quantile of each but gap and length), as 95 % of the worlds have another one: the "
        f"least and the greatest of {len(draws)} draws of worlds. The worlds were set by the "
        f"groups {'; '.join(CHOSEN_BY)}; the others are only shown.",
        cost(n // 4, options.seed),
        "## Full frame rate",
        summary(simulated, spaces, full),
        "## Every third frame",
        summary(simulated, spaces, third),
    ]
    print("\n\n".join(text))
    if not options.quick:
        quantiles = ["## Quantiles, at the full frame rate", *quantile_tables(groups)]
        (RESULTS / "worlds.md").write_text("\n\n".join(text + quantiles) + "\n", encoding="utf-8")
        draw(groups, FIGURE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="where bee24, gmot and dancetrack lie")
    parser.add_argument("--seed", type=int, default=0, help="of the worlds")
    parser.add_argument("--quick", action="store_true", help="fewer worlds; nothing is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
