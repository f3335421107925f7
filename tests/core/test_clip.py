"""Clips, and the frames and instances that people see of them."""

import pickle

import numpy as np
import pytest

from kintrack.core.clip import Clip, Frame, Instance
from kintrack.core.detections import Detections
from kintrack.errors import InputError

BOXES = [[0, 0, 2, 2], [10, 0, 14, 2], [1, 0, 3, 2], [11, 0, 15, 2]]


SHOWN = {"box": [0, 0, 1, 1], "crop": np.ones((1, 2, 2))}


def clip(**columns) -> Clip:
    seen = Detections([3, 3, 5, 5], BOXES, score=[0.9, 0.8, 0.7, 0.6])
    return Clip(seen, **{"identity": [4, 7, 4, 7], "video": "a", **columns})


def test_a_clip_is_a_sequence_of_its_frames():
    frames = list(clip())
    assert len(clip()) == 2
    assert [(f.frame_id, f.video_id, len(f)) for f in frames] == [(3, "a", 2), (5, "a", 2)]
    assert clip()[-1].frame_id == 5 and [f.frame_id for f in clip()[:1]] == [3]
    with pytest.raises(IndexError):
        clip()[2]


def test_a_frame_shows_the_rows_of_its_time_point():
    frame = clip(predicted=[0, 1, 0, -1])[1]
    assert frame.gt_track_ids.tolist() == [4, 7] and frame.pred_track_ids.tolist() == [0, -1]
    assert frame.detections.box.tolist() == BOXES[2:]
    first, second = frame.instances
    assert (first.gt_track_id, first.pred_track_id, first.score, first.frame_id) == (4, 0, 0.7, 5)
    assert first.has_gt_track_id and first.has_pred_track_id and not second.has_pred_track_id
    assert first.centroid.tolist() == [2.0, 1.0]


def test_views_are_read_only_and_the_callers_arrays_stay_writable():
    ids, crops = np.array([4, 7, 4, 7]), np.zeros((4, 1, 8, 8), np.float32)
    made = clip(identity=ids, crops=crops)
    frame = made[0]
    for array in (
        frame.gt_track_ids,
        frame.instances[0].box,
        frame.instances[0].crop,
        made.crops,
        frame.detections.box,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    with pytest.raises(AttributeError, match="read-only"):
        frame.frame_id = 9
    ids[0] = 5  # the caller's
    assert crops.flags.writeable


def test_a_frame_without_detections_is_still_a_frame():
    frame = Frame(7)
    assert frame and len(frame) == 0 and not frame.has_instances and frame.instances == ()
    gathered = Clip.of_frames([frame, Frame(2)])
    assert [f.frame_id for f in gathered] == [2, 7] and len(gathered.detections) == 0


def test_frames_made_by_hand_become_columns_in_the_order_of_time():
    late = Frame(9, [Instance([0, 0, 4, 4], score=0.5, gt_track_id=1)], video_id="v")
    early = Frame(2, [Instance([5, 5, 6, 6]), Instance(keypoints=[[1, 1], [3, 5]], gt_track_id=1)], video_id="v")
    made = Clip.of_frames([late, Frame(4, video_id="v"), early])
    assert made.video == "v" and made.frames.tolist() == [2, 4, 9]
    assert made.detections.frame.tolist() == [2, 2, 9] and made.identity.tolist() == [-1, 1, 1]
    assert made.detections.box[1].tolist() == [1, 1, 3, 5]  # around the keypoints
    np.testing.assert_array_equal(made.detections.score, [np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(made.detections.keypoints[:, 0, 0], [np.nan, 1, np.nan])
    assert made.predicted is None and made.crops is None


def test_the_frames_of_a_clip_are_that_clip_again():
    made = clip(history=[0, 1, 2, 3])
    assert Clip.of_frames(list(made)) is made and Clip.of_frames(made) is made
    part = Clip.of_frames(made[1:])
    assert part.history.tolist() == [2, 3] and part.frames.tolist() == [5]


def test_crops_and_predictions_travel_with_their_instances():
    crop = np.ones((1, 4, 4))
    frames = [
        Frame(t, [Instance([t, 0, t + 1, 1], crop=crop * t, pred_track_id=t), Instance([9, 9, 10, 10], crop=crop)])
        for t in (1, 0)
    ]
    made = Clip.of_frames(frames)
    assert made.crops.shape == (4, 1, 4, 4) and made.crops[:, 0, 0, 0].tolist() == [0, 1, 1, 1]
    assert made.predicted.tolist() == [0, -1, 1, -1]


def test_instances_of_any_frames_in_any_order_know_their_rows():
    given = [Instance([t, 0, t + 1, 1], frame_id=t) for t in (5, 2, 5, 0)]
    made, rows = Clip.of_instances(given)
    assert made.detections.box[rows, 0].tolist() == [5, 2, 5, 0]
    assert sorted(rows.tolist()) == [0, 1, 2, 3]
    assert len(Clip.of_instances([])[0]) == 0


def test_truth_and_prediction_are_tracks_of_the_same_detections():
    made = clip(predicted=[1, 0, 1, 0])
    assert made.truth.track.tolist() == [4, 7, 4, 7] and made.prediction.track.tolist() == [1, 0, 1, 0]
    assert clip().prediction.track.tolist() == [-1, -1, -1, -1]
    assert Clip.untracked(made.detections).identity.tolist() == [-1, -1, -1, -1]
    assert made.truth.detections is made.prediction.detections


def test_clips_can_be_sent_to_other_processes():
    made = pickle.loads(pickle.dumps(clip(crops=np.ones((4, 1, 8, 8)))))
    assert made.identity.tolist() == [4, 7, 4, 7] and made.crops.sum() == 4 * 64
    assert pickle.loads(pickle.dumps(made[1])).gt_track_ids.tolist() == [4, 7]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: clip(identity=[1, 2]), r"identity has shape \(2,\) but the clip has 4 detections; give one id a row"),
        (lambda: clip(history=[1]), "history has shape"),
        (lambda: clip(crops=np.zeros((3, 1, 8, 8))), r"crops have shape \(3, 1, 8, 8\); wanted \(4, C, S, S\)"),
        (lambda: clip(frames=[5, 3]), "frames of a clip must increase"),
        (lambda: clip(frames=[3]), "there are detections in frame 5, but the clip does not list it"),
        (lambda: Instance(), "without a box and without keypoints is nowhere"),
        (lambda: Instance([1, 2, 3]), r"box of an instance has shape \(3,\)"),
        (lambda: Frame(0, [Instance(**SHOWN), Instance([0, 0, 1, 1])]), "1 of 2 instances"),
        (lambda: Frame(0, [[0, 0, 1, 1]]), "frame 0 is made of Instances, but one of them is a list"),
        (
            lambda: Frame(0, [Instance(keypoints=[[1, 1]]), Instance(keypoints=[[1, 1], [2, 2]])]),
            "keypoints of frame 0 have different shapes",
        ),
        (lambda: Clip.of_frames([Frame(1), Frame(1)]), "frame 1 is there twice"),
        (lambda: Clip.of_frames([Frame(1), Frame(2, video_id=1)]), "frames of several videos"),
        (lambda: Clip.of_frames([1]), "a clip is made of Frames, but one of them is a int"),
        (
            lambda: Clip.of_frames([Frame(0, [Instance([0, 0, 1, 1])]), Frame(1, [Instance(**SHOWN)])]),
            "1 of 2 frames have crops",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_a_clip_is_refused_in_words(make, words):
    with pytest.raises(InputError, match=words):
        make()
