"""Which detections are tracked: overlapping and surplus ones are set aside, counted, and not lost."""

import logging
import sys

import numpy as np
import pytest

from kintrack import api, cli, io
from kintrack.config import AdmitConfig
from kintrack.core.boxes import around_points, from_centre, intersection, iou
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.errors import ConfigError
from kintrack.tracking.admit import set_aside
from kintrack.tracking.motion import Motion
from worlds import crossing


def boxes_of(*boxes, frame=None, **columns):
    frame = np.zeros(len(boxes)) if frame is None else frame
    return Detections(frame, np.array(boxes, float), **columns)


def overlapping(detections, **config):
    return set_aside(detections, config).overlapping.tolist()


WHOLE, INSIDE, BESIDE = [0, 0, 20, 10], [0, 0, 10, 6], [15, 0, 35, 10]
"""The second is inside the first: 1 of the smaller, 0.3 of the union. The third shares a quarter of it: 0.143."""


def test_overlap_is_of_the_smaller_box_or_of_the_union():
    seen = boxes_of(WHOLE, INSIDE, BESIDE)
    assert overlapping(seen) == [False] * 3
    assert overlapping(seen, max_overlap=0.9) == [False, True, False]
    assert overlapping(seen, max_overlap=0.24) == [False, True, True]
    assert overlapping(seen, max_overlap=0.26) == [False, True, False]
    assert overlapping(seen, max_overlap=0.31, overlap="union") == [False] * 3
    assert overlapping(seen, max_overlap=0.29, overlap="union") == [False, True, False]
    assert overlapping(seen, max_overlap=0.14, overlap="union") == [False, True, True]


def test_the_better_one_stays():
    two = boxes_of(WHOLE, INSIDE)
    assert overlapping(two, max_overlap=0.5) == [False, True]  # the earlier row
    assert overlapping(two.with_columns(score=[0.4, 0.6]), max_overlap=0.5) == [True, False]
    assert overlapping(two.with_columns(score=[np.nan, 0.6]), max_overlap=0.5) == [False, True]  # unknown is not low
    pose = np.array([[[0.0, 0], [20, 10], [np.nan, np.nan]], [[0, 0], [10, 6], [5, 5]]])
    posed = two.with_columns(score=[0.9, 0.1], keypoints=pose)
    assert overlapping(posed, max_overlap=0.5) == [True, False]  # more keypoints before a higher score
    assert overlapping(posed.with_columns(is_user=[True, False]), max_overlap=0.5) == [False, True]
    assert overlapping(posed.with_columns(is_user=[True, True]), max_overlap=0.5) == [False, False]


def test_who_is_set_aside_sets_nobody_else_aside():
    chain = boxes_of([0, 0, 10, 10], [6, 0, 16, 10], [12, 0, 22, 10], score=[0.9, 0.8, 0.7])
    assert overlapping(chain, max_overlap=0.3) == [False, True, False]


def test_only_boxes_of_one_frame_overlap_and_points_overlap_nobody():
    later = boxes_of(WHOLE, INSIDE, WHOLE, [5, 5, 5, 5], [5, 5, 5, 5], [np.nan] * 4, frame=[0, 1, 3, 3, 3, 3])
    assert overlapping(later, max_overlap=0.0) == [False] * 6
    assert overlapping(Detections.empty(), max_overlap=0.5) == []
    assert overlapping(boxes_of([np.nan] * 4), max_overlap=0.5) == [False]


@pytest.mark.parametrize(("overlap", "most"), [("smaller", 0.4), ("union", 0.2)])
def test_in_a_crowd_nobody_is_left_who_overlaps_and_nobody_is_gone_who_does_not(overlap, most):
    rng = np.random.default_rng(0)
    frame = np.sort(rng.integers(0, 20, 800))
    seen = Detections(frame, from_centre(rng.uniform(-50, 150, (800, 2)), rng.uniform(5, 30, (800, 2))))
    seen = seen.with_columns(score=rng.random(800))
    aside = set_aside(seen, AdmitConfig(max_overlap=most, overlap=overlap)).overlapping
    assert 80 < aside.sum() < 700
    for t in range(20):
        rows = np.flatnonzero(frame == t)
        box = seen.box[rows]
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        share = intersection(box[:, None], box[None]) / np.minimum(area[:, None], area)
        share = share if overlap == "smaller" else iou(box, box)
        too_much = (share > most) & ~np.eye(len(rows), dtype=bool)
        left = ~aside[rows]
        assert not too_much[np.ix_(left, left)].any()
        better = seen.score[rows][:, None] < seen.score[rows]  # each has one that stays and is better
        assert (too_much & better & left)[~left].any(axis=1).all()


def test_of_too_many_the_lowest_scores_are_set_aside():
    frame, score = [0, 0, 0, 1, 1], [0.2, 0.9, 0.5, 0.1, 0.1]
    seen = boxes_of(*[[20 * i, 0, 20 * i + 9, 9] for i in range(5)], frame=frame, score=score)

    def excess(rows, most=2):
        return set_aside(rows, {"max_objects": most}).excess.tolist()

    assert excess(seen) == [True, False, False, False, False]
    assert excess(seen, 1) == [True, False, True, False, True]
    assert excess(seen.with_columns(is_user=[True] * 3 + [False] * 2)) == [False] * 5
    assert excess(seen.with_columns(score=[np.nan, 0.9, 0.5, 0.1, 0.1])) == [False, False, True, False, False]
    with pytest.raises(ConfigError, match=r"frame 0 holds more than 2 .* none has a score by which .*max_tracks"):
        excess(seen.with_columns(score=None))
    assert excess(seen.with_columns(score=None), 3) == [False] * 5


def test_what_overlaps_is_set_aside_before_what_is_too_much():
    seen = boxes_of(WHOLE, INSIDE, [40, 0, 50, 10], score=[0.9, 0.8, 0.1])
    aside = set_aside(seen, {"max_overlap": 0.5, "max_objects": 2})
    assert aside.overlapping.tolist() == [False, True, False] and not aside.excess.any()


def doubled():
    """Two who cross, and beside each, in each third frame, a second and fainter detection."""
    truth = crossing()
    seen = truth.detections
    twice = np.flatnonzero(seen.frame % 3 == 0)
    rows = np.sort(np.concatenate([np.arange(len(seen)), twice]))
    again = np.r_[False, np.diff(rows) == 0]
    box = seen.box[rows] + np.where(again, 2.0, 0.0)[:, None]
    return Detections(seen.frame[rows], box, score=np.where(again, 0.3, 0.9)), again, truth.track[rows]


@pytest.mark.parametrize("tracker", ["kintrack", "dreem"])
@pytest.mark.parametrize("admit", [{"max_overlap": 0.5}, {"max_objects": 2}])
def test_who_is_set_aside_stays_in_the_result_untracked_and_is_counted(tracker, admit, caplog):
    seen, again, identity = doubled()
    with caplog.at_level(logging.WARNING):
        tracks = api.track(seen, model=Motion(), config={"tracker": tracker, "admit": admit})
    assert len(tracks) == len(seen) and (tracks.track[again] == -1).all()
    assert same_tracks(tracks.track[~again], identity[~again])
    assert np.isnan(tracks.confidence[again]).all()
    said = {"max_overlap": "overlap a better one by more than 0.5", "max_objects": "are more than 2 in their frame"}
    why = said[next(iter(admit))]
    assert f"6 of {len(seen)} detections are not tracked and stay in the result without a track: 6 {why}" in caplog.text


def test_nothing_is_said_where_nobody_is_set_aside(caplog):
    truth = crossing()
    tracks = api.track(truth.detections, model=Motion(), config={"admit": {"max_overlap": 0.99}})
    assert same_tracks(tracks.track, truth.track) and "not tracked" not in caplog.text


def test_poses_overlap_by_their_boxes():
    pose = np.array([[[0.0, 0], [20, 10]], [[1, 1], [19, 9]], [[50, 50], [60, 60]]])
    seen = boxes_of(*around_points(pose), keypoints=pose, score=[0.5, 0.9, 0.1])
    assert overlapping(seen, max_overlap=0.8) == [True, False, False]


def test_the_command_line_says_who_is_set_aside_and_writes_them_untracked(tmp_path, monkeypatch, capsys):
    seen, again, _ = doubled()
    io.save(Tracks.untracked(seen), tmp_path / "det.csv")
    output = tmp_path / "out.csv"
    arguments = ["track", str(tmp_path / "det.csv"), "-o", str(output), "-m", "motion"]
    monkeypatch.setattr(
        sys, "argv", ["kintrack", *arguments, "--set", "admit.max_overlap=0.3", "--set", "admit.overlap=union"]
    )
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert not leaving.value.code
    said = " ".join(capsys.readouterr().err.split())
    assert "6 of 22 detections are not tracked and stay in the result without a track: 6 overlap a better one" in said
    written = io.load(output)
    assert len(written) == len(seen) and ((written.track < 0) == again).all()
