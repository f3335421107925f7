"""read(write(x)) == x for every format, in seeded random worlds, and everything that the format claims to carry."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kintrack import io
from kintrack.core import boxes
from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.core.video import ArrayLabelVideo
from kintrack.io.ctc import detections_from_labels

SEVERAL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)


def random_tracks(rng: np.random.Generator, keypoints: int = 0, ndim: int = 2) -> Tracks:
    """A world with gaps, late starts, untracked rows, nan and, now and then, a division."""
    n_tracks, n_frames = int(rng.integers(1, 7)), int(rng.integers(2, 12))
    there = rng.random((n_frames, n_tracks + 2)) < 0.7
    there[0, 0] = True
    frame, column = np.nonzero(there)
    track = np.where(column < n_tracks, column * 3 + 1, -1)
    n = len(frame)
    points = rng.normal(100, 30, (n, keypoints, ndim))
    points[rng.random((n, keypoints)) < 0.2] = np.nan
    corner = rng.normal(50, 20, (n, ndim))
    box = np.concatenate([corner, corner + rng.exponential(10, (n, ndim)) * (rng.random((n, ndim)) < 0.9)], axis=1)
    columns = {"score": rng.random(n)}
    if keypoints:
        names = tuple(f"part {k}" for k in range(keypoints))
        pairs = tuple((k, k + 1) for k in range(keypoints - 1))
        twins = ((0, keypoints - 1),) if keypoints > 2 else ()
        box = boxes.around_points(points)
        is_user = rng.random(n) < 0.3
        columns |= {
            "keypoints": points,
            "keypoint_score": np.where(is_user[:, None], np.nan, rng.random((n, keypoints))),
            "is_user": is_user,
            "skeleton": Skeleton(names, pairs if rng.random() < 0.5 else (), twins, "worm"),
            "score": np.where(is_user, np.nan, columns["score"].astype(np.float32)),
        }
    return Tracks(Detections.of(frame, box, **columns), track)


def with_parents(tracks: Tracks) -> Tracks:
    """The same tracks, each the child of one that has ended before, where there is one."""
    spans = tracks.spans()
    pairs = []
    for child, (start, _) in spans.items():
        ended = [p for p, (_, end) in spans.items() if end < start]
        pairs += [(child, ended[0])] if ended else []
    return Tracks(tracks.detections, tracks.track, np.array(pairs, np.int64).reshape(-1, 2))


def assert_same_columns(read: Detections, written: Detections, names: set[str], rtol: float = 0.0) -> None:
    for name in names:
        a, b = getattr(read, name), getattr(written, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True, err_msg=name)


@SEVERAL
@given(seed=seeds)
def test_motchallenge_text_comes_back_row_by_row(seed: int, tmp_path: Path) -> None:
    written = random_tracks(np.random.default_rng(seed))
    io.save(written, tmp_path / "a.txt", overwrite=True)
    read = io.load(tmp_path / "a.txt")
    np.testing.assert_array_equal(read.track, written.track)
    assert_same_columns(read.detections, written.detections, {"frame", "box", "score"}, rtol=1e-11)


@SEVERAL
@given(seed=seeds, ndim=st.sampled_from([2, 3]), keypoints=st.sampled_from([0, 1, 4]))
def test_csv_comes_back_exactly(seed: int, ndim: int, keypoints: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    plain = random_tracks(rng, keypoints, ndim)
    n = len(plain)
    extra = {"Mean Grey": rng.normal(size=n), "note": np.array(["fine, really"] * n)}
    detections = plain.detections.with_columns(label=rng.integers(1, 9, n), area=rng.random(n), extra=extra)
    divided = with_parents(plain)
    confidence = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
    names = {int(plain.ids[0]): "Zoë"}
    written = Tracks(detections, plain.track, divided.parent, names, confidence)
    io.save(written, tmp_path / "a.csv", overwrite=True)
    read = io.load(tmp_path / "a.csv")
    np.testing.assert_array_equal(read.track, written.track)
    np.testing.assert_array_equal(read.confidence, written.confidence)
    assert read.names == names
    assert sorted(read.parent.tolist()) == sorted(written.parent.tolist())
    columns = {"frame", "box", "score", "label", "area", "is_user", "keypoints", "keypoint_score"}
    assert_same_columns(read.detections, written.detections, columns)
    np.testing.assert_array_equal(read.detections.extra["Mean Grey"], extra["Mean Grey"])
    assert read.detections.extra["note"].tolist() == extra["note"].tolist()


@SEVERAL
@given(seed=seeds, keypoints=st.integers(1, 5))
def test_slp_comes_back_with_poses_names_and_scores(seed: int, keypoints: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    plain = random_tracks(rng, keypoints)
    info = VideoInfo("there/clip.mp4", n_frames=40, shape=(300, 400), fps=25.0)
    confidence = np.where(rng.random(len(plain)) < 0.2, np.nan, rng.random(len(plain)).astype(np.float32))
    names = {int(track): f"fly {i}" for i, track in enumerate(plain.ids)}
    detections = plain.detections.with_columns(video=info)
    if detections.is_user.all():  # a file of people's work alone has no scores
        detections = detections.with_columns(score=None, keypoint_score=None)
    written = Tracks(detections, plain.track, names=names, confidence=confidence)
    io.save(written, tmp_path / "a.slp", overwrite=True)
    read = io.load(tmp_path / "a.slp")
    assert same_tracks(read.track, written.track)
    assert [read.name(t) for t in read.track if t >= 0] == [written.name(t) for t in written.track if t >= 0]
    np.testing.assert_array_equal(read.confidence, written.confidence)
    columns = {"frame", "box", "score", "is_user", "keypoints", "keypoint_score"}
    assert_same_columns(read.detections, written.detections, columns, rtol=1e-12)
    assert read.detections.skeleton == written.detections.skeleton
    assert read.detections.video == info


@SEVERAL
@given(seed=seeds)
def test_ctc_folders_come_back_with_masks_links_and_parents(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    world = with_parents(random_tracks(rng))
    n_frames = world.detections.n_frames + int(rng.integers(0, 2))
    pixels = np.zeros((n_frames, 12, 40), np.uint16)
    label = np.zeros(len(world), np.int64)
    for frame in range(n_frames):
        rows = world.detections.rows(frame, frame + 1)
        label[rows] = 1 + rng.permutation(20)[: rows.stop - rows.start]
        for place, value in enumerate(label[rows]):  # one behind the other, so that none hides another
            pixels[frame, 2 : 2 + rng.integers(1, 9), 4 * place : 4 * place + rng.integers(1, 4)] = value
    found = detections_from_labels(ArrayLabelVideo(pixels))
    order = np.lexsort((label, world.detections.frame))
    written = Tracks(found, world.track[order], world.parent)
    io.save(written, tmp_path / f"{seed}", labels=ArrayLabelVideo(pixels), overwrite=True)
    read = io.load(tmp_path / f"{seed}")
    labels = io.load_labels(tmp_path / f"{seed}")
    assert labels.shape == pixels.shape

    # A written label is another number than the one that was read, so rows of one frame may change places.
    where = [tuple(row) for row in np.c_[read.detections.frame, read.detections.box, read.detections.area].tolist()]
    place = {row: i for i, row in enumerate(where)}
    same = [place[tuple(row)] for row in np.c_[found.frame, found.box, found.area].tolist()]
    assert sorted(same) == list(range(len(found)))
    links = {(same[a], same[b]) for a, b in written.links().tolist()}
    assert {tuple(link) for link in read.links().tolist()} == links
