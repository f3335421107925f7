"""What must not change the answer: order, other windows beside it, place, time, scale, mirrors and turns.

A box stays a box when it is turned by a right angle alone. Points may be turned by any angle, and so may poses whose
boxes are points. Where boxes are drawn around poses, a turn makes them larger or smaller, and with them the unit in
which everything is measured: then lengths in pixels, angles and counts are what stays.
"""

import numpy as np
import pytest
import torch

from kintrack.config import PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.tracks import same_tracks
from kintrack.models import GlobalTrackingTransformer
from kintrack.tracking import Tracker
from kintrack.windows.conditions import conditions_of
from kintrack.windows.features import pair_features
from kintrack.windows.scorer import Scorer
from kintrack.windows.window import Window, between, follow


@pytest.fixture(scope="module")
def model():
    return random_model(0)


def random_model(seed):
    torch.manual_seed(seed)
    return GlobalTrackingTransformer(ModelConfig(dim=32, decoder_layers=2)).eval()


def scene(seed=0, n=6, n_frames=10, pose=True):
    """Animals on smooth random paths, in random order in each frame, with poses, scores and masks."""
    rng = np.random.default_rng(seed)
    path = rng.uniform(50, 250, (1, n, 2)) + np.cumsum(rng.normal(0, 4, (n_frames, n, 2)), axis=0)
    sides = rng.uniform(15, 30, (1, n, 2)) * rng.uniform(0.9, 1.1, (n_frames, n, 2))
    frame, who = np.repeat(np.arange(n_frames), n), np.tile(np.arange(n), n_frames)
    kept = np.flatnonzero(rng.random(len(frame)) < 0.9)
    order = kept[np.lexsort((rng.random(len(kept)), frame[kept]))]
    centre, side = path.reshape(-1, 2)[order], sides.reshape(-1, 2)[order]
    columns = {"score": rng.random(len(order)), "area": 0.7 * side.prod(axis=1)}
    if pose:
        columns["keypoints"] = centre[:, None] + rng.normal(0, 0.3, (len(order), 4, 2)) * side[:, None]
    box = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    return Detections(frame=frame[order], box=box, **columns), who[order]


def logits(model, detections, identity):
    """(2, E) the last layer's, against both nulls."""
    window = follow(Sightings.of(detections), identity, model.config, TrackerConfig())
    return model.logits(window)[-1].detach().numpy(), window


def turned(detections):
    """The scene turned by a right angle: x and y change places, and y is mirrored."""
    box, points = detections.box, detections.keypoints
    new = np.stack([-box[:, 3], box[:, 0], -box[:, 1], box[:, 2]], axis=1)
    return detections.with_columns(box=new, keypoints=np.stack([-points[..., 1], points[..., 0]], axis=-1))


def moved(detections, scale=1.0, shift=(0.0, 0.0)):
    columns = {"box": detections.box * scale + np.tile(shift, 2), "area": detections.area * scale**2}
    return detections.with_columns(**columns, keypoints=detections.keypoints * scale + shift)


def mirrored(detections):
    box = detections.box * [-1, 1, -1, 1]
    return detections.with_columns(box=box[:, [2, 1, 0, 3]], keypoints=detections.keypoints * [-1, 1])


CHANGES = {
    "shifted in space": lambda d: moved(d, shift=(1234.5, -77.0)),
    "shifted in time": lambda d: d.with_columns(frame=d.frame + 1000),
    "scaled": lambda d: moved(d, scale=7.3),
    "mirrored": mirrored,
    "turned by a right angle": turned,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", CHANGES)
def test_the_answer_is_the_same_for_a_scene(change, seed):
    model, (detections, identity) = random_model(seed), scene(seed)
    expected, before = logits(model, detections, identity)
    found, after = logits(model, CHANGES[change](detections), identity)
    assert expected.shape[1] > 100 and len(before.history.edges) > 100 and expected.std() > 0.05
    assert torch.equal(before.pairs, after.pairs)
    assert found == pytest.approx(expected, abs=1e-4)


def rotated(points, angle):
    """(..., 2) points turned around the origin."""
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def as_points(detections, keypoints=None):
    """Detections without an extent: at the mean of their keypoints, if they have any, or in the middles of boxes."""
    centre = boxes.centre(detections.box) if keypoints is None else keypoints.mean(axis=1)
    return Detections(frame=detections.frame, box=np.tile(centre, 2), score=detections.score, keypoints=keypoints)


@pytest.mark.parametrize("posed", [False, True])
@pytest.mark.parametrize(("seed", "angle"), [(0, 0.3), (1, 1.0), (2, 2.5), (3, -1.9)])
def test_points_and_poses_without_boxes_may_be_turned_by_any_angle(seed, angle, posed):
    model, (detections, identity) = random_model(seed), scene(seed)
    points = as_points(detections, detections.keypoints if posed else None)
    turned_points = points.with_columns(
        box=rotated(points.box.reshape(-1, 2, 2), angle).reshape(-1, 4),
        keypoints=rotated(points.keypoints, angle) if posed else None,
    )
    expected, before = logits(model, points, identity)
    found, after = logits(model, turned_points, identity)
    assert len(before.history.edges) > 100 and expected.std() > 0.05
    assert torch.equal(before.pairs, after.pairs)
    assert found == pytest.approx(expected, abs=1e-4)


IN_SIZES = (
    "distance", "speed", "speed_smooth", "scatter", "residual_fast", "residual_slow", "residual_smooth",
    "residual_steady", "residual_per_gap", "along", "across", "pose_distance", "pose_change",
)  # fmt: skip
WITHOUT_UNIT = ("gap", "sightings", "pose_turn", "has_pose")


@pytest.mark.parametrize("angle", [0.3, 1.0, -2.5])
def test_of_turned_poses_with_boxes_around_them_lengths_in_pixels_and_angles_stay(angle):
    detections, identity = scene()

    def measured(keypoints):
        seen = Sightings.of(Detections(frame=detections.frame, box=boxes.around_points(keypoints), keypoints=keypoints))
        memory, last = Memory.like(seen), int(detections.frame[-1])
        for frame in range(last):
            rows = detections.rows(frame, frame + 1)
            memory = memory.remember(seen.take(rows), identity[rows], depth=1)
        query = seen.take(detections.rows(last, last + 1))
        pairs = np.argwhere(np.ones((len(query), len(memory))))
        values = pair_features(query, memory, pairs, conditions_of(query, memory, pairs)).T.astype(float)
        found = dict(zip(PAIR_FEATURES, values, strict=True))
        unit = np.sqrt(query.size[pairs[:, 0]] * memory.sightings.size[pairs[:, 1]])
        pixels = {name: np.sign(found[name]) * np.expm1(np.abs(found[name])) * unit for name in IN_SIZES}
        return pixels | {name: found[name] for name in WITHOUT_UNIT}, unit

    before, unit = measured(detections.keypoints)
    after, other_unit = measured(rotated(detections.keypoints, angle))
    assert np.abs(other_unit / unit - 1).max() > 0.05  # the boxes did change
    for name, values in before.items():
        assert after[name] == pytest.approx(values, rel=1e-4, abs=1e-3), name


def test_shuffled_detections_give_shuffled_logits(model):
    detections, identity = scene()
    expected, before = logits(model, detections, identity)
    rng = np.random.default_rng(1)
    order = np.lexsort((rng.random(len(detections)), detections.frame))
    found, after = logits(model, detections.take(order), identity[order])

    def by_rows(window, values, rename):
        q, r = window.query[window.pairs[:, 0]].numpy(), window.reference[window.pairs[:, 1]].numpy()
        return dict(zip(zip(rename[q], rename[r], strict=True), values.mean(axis=0), strict=True))

    a, b = by_rows(before, expected, np.arange(len(order))), by_rows(after, found, order)
    assert a.keys() == b.keys()
    assert [b[key] for key in a] == pytest.approx(list(a.values()), abs=1e-4)


def test_other_windows_in_the_batch_change_nothing(model):
    config = model.config
    windows = [follow(Sightings.of(d), i, config, TrackerConfig()) for d, i in (scene(0), scene(1, n=3), scene(2, n=1))]
    detections, identity = scene(4, n_frames=2)
    nobody_has_a_past = TrackerConfig(memory=1)
    windows.append(follow(Sightings.of(detections), identity, config, nobody_has_a_past))
    assert len(windows[-1].pairs) and not len(windows[-1].history.edges)
    alone = torch.cat([model.logits(w)[-1] for w in windows], dim=1)
    together = model.logits(Window.collate(windows))[-1]
    assert torch.allclose(alone, together, atol=1e-5)


def test_a_query_never_learns_what_its_own_track_does_next():
    """Motion of references is measured up to them alone: later frames change no earlier question."""
    detections, identity = scene()
    early = detections.rows(0, 6)
    config = ModelConfig()
    whole = follow(Sightings.of(detections), identity, config, TrackerConfig())
    part = follow(Sightings.of(detections.take(early)), identity[early], config, TrackerConfig())
    assert torch.equal(whole.pair[: len(part.pair)], part.pair)


def test_tracks_do_not_depend_on_the_order_within_frames(model):
    detections, _ = scene(3)
    rng = np.random.default_rng(0)
    order = np.lexsort((rng.random(len(detections)), detections.frame))

    def track(d):
        scorer = Scorer(model)
        return Tracker()(scorer, d, scorer.embed(Sightings.of(d))).track

    assert same_tracks(track(detections)[order], track(detections.take(order)))


def test_any_pair_may_be_asked_and_matches_have_one_matrix_for_each_layer(model):
    detections, identity = scene(n_frames=3)
    query, reference = np.arange(4), np.arange(len(detections))
    window = between(Sightings.of(detections), query, reference, model.config, identity)
    matrices = model(window)
    assert len(matrices) == model.config.decoder_layers
    assert matrices[-1].matrix.shape == (4, len(detections))
    same_frame = torch.from_numpy(detections.frame[query][:, None] == detections.frame)
    itself = torch.from_numpy(query[:, None] == reference)
    assert torch.equal(torch.isfinite(matrices[-1].matrix), ~same_frame | itself)


@pytest.mark.parametrize(
    "name", [n for n in PAIR_FEATURES if "appearance" not in n]
)  # see tests/windows/test_scorer.py
def test_every_measure_of_pairs_says_something(name):
    detections, identity = scene()
    seen = Sightings.of(detections)
    if name == "has_pose":
        keypoints = detections.keypoints.copy()
        keypoints[::3] = np.nan
        seen = Sightings.of(detections.with_columns(keypoints=keypoints))
        pair = follow(seen, identity, ModelConfig(), TrackerConfig()).pair
    else:
        pair = follow(seen, identity, ModelConfig(), TrackerConfig()).pair
    assert pair[:, PAIR_FEATURES.index(name)].std() > 0.01
