"""Training clips: real and simulated truth, seen by fallible detectors and remembered with mistakes."""

import numpy as np
import pytest

from kintrack.config import DataConfig, EncoderConfig
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.core.video import ArrayVideo
from kintrack.errors import InputError
from kintrack.training.data import Clips, _mistaken, _stretch, _Timing

AS_ANNOTATED = {"simulated": 0, "noisy": 0, "blank": 0, "swap": 0, "fragment": 0, "other_light": 0}


def marching(n_frames=60, n=3, first=0):
    """Individual i is at x = 100 i + t in frame t."""
    frame, who = np.repeat(np.arange(first, first + n_frames), n), np.tile(np.arange(n), n_frames)
    x = 100.0 * who + frame
    box = np.stack([x, np.full(len(x), 50.0), x + 10, np.full(len(x), 60.0)], axis=1)
    columns = {"score": np.ones(len(x)), "area": np.full(len(x), 80.0)}
    return Tracks(Detections(frame=frame, box=box, **columns), who)


def column(clip, name):
    return getattr(clip.detections, name)


def test_a_clip_depends_on_seed_epoch_and_number_alone():
    clips = Clips([marching()], DataConfig(clips=10), seed=3)
    first = clips[4]
    _ = clips[5], clips[7]
    again = clips[4]
    assert np.array_equal(first.detections.box, again.detections.box, equal_nan=True)
    assert np.array_equal(first.history, again.history)
    clips.set_epoch(1)
    other_epoch = clips[4]
    other_seed = Clips([marching()], DataConfig(clips=10), seed=4)[4]
    for other in (other_epoch, other_seed):
        assert first.detections.box.shape != other.detections.box.shape or not np.array_equal(
            first.detections.box, other.detections.box
        )


def test_a_clip_as_annotated_is_a_stretch_of_the_video_at_some_frame_rate_in_some_direction():
    clips = Clips([marching()], DataConfig(frames=8, max_stride=3, **AS_ANNOTATED))
    steps = set()
    for i in range(40):
        clip = clips[i]
        assert np.array_equal(np.unique(column(clip, "frame")), np.arange(8))
        for who in range(3):
            x = column(clip, "box")[clip.identity == who, 0]
            assert len(np.unique(np.diff(x))) == 1
            steps.add(float(np.diff(x)[0]))
    assert steps == {-3.0, -2.0, -1.0, 1.0, 2.0, 3.0}


def test_false_detections_lie_in_the_clip_however_long_its_video_is():
    truth = marching(n_frames=40)
    truth = Tracks(truth.detections.with_columns(video=VideoInfo(n_frames=4000, shape=(200, 400))), truth.track)
    clips = Clips([truth], DataConfig(frames=8, simulated=0, noisy=1))
    invented = 0
    for i in range(60):
        clip = clips[i]
        assert column(clip, "frame").max(initial=0) < 8
        invented += int((clip.identity < 0).sum())
    assert invented > 10


def test_a_video_shorter_than_a_clip_is_taken_whole():
    clips = Clips([marching(n_frames=5, first=7)], DataConfig(frames=20, max_stride=1, **AS_ANNOTATED))
    assert all(np.array_equal(np.unique(column(clips[i], "frame")), np.arange(5)) for i in range(5))


@pytest.mark.parametrize("first", [0, 1000])
def test_every_frame_of_a_video_is_reached(first):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        stretch, timing = _stretch(marching(20, first=first), 4, 2, rng)
        seen |= set((timing.start + timing.step * stretch.detections.frame).tolist())
    assert seen == set(range(first, first + 20))


def test_detectors_err_in_most_clips_and_history_is_mistaken_in_some():
    clips = Clips([marching()], DataConfig(simulated=0, noisy=1, swap=0.2, fragment=0.05))
    some = [clips[i] for i in range(30)]
    assert any((c.identity < 0).any() for c in some)
    assert len({len(c.detections) for c in some}) > 5
    assert any((c.history != c.identity).any() for c in some)
    assert all(((c.history < 0) == (c.identity < 0)).all() for c in some)


def test_groups_of_features_are_blanked_by_chance():
    clips = Clips([marching()], DataConfig(simulated=0, blank=0.5))
    kinds = {(c.detections.score is None, c.detections.area is None) for c in (clips[i] for i in range(40))}
    assert len(kinds) == 4


def test_simulated_worlds_alone_will_do():
    clips = Clips([], DataConfig(simulated=1, frames=12))
    some = [clips[i] for i in range(10)]
    assert all(c.detections.n_frames <= 12 for c in some)
    assert len({len(c.detections) for c in some}) > 5


def test_without_truth_and_without_worlds_there_is_nothing_to_train_on():
    with pytest.raises(InputError, match=r"nothing to train on: no annotated track, and data\.simulated is 0"):
        Clips([Tracks.untracked(marching().detections)], DataConfig(simulated=0))


def test_untracked_rows_and_empty_videos_are_left_out():
    loose = marching()
    loose = Tracks(loose.detections, np.where(loose.track == 2, -1, loose.track))
    clips = Clips([loose, Tracks.untracked(Detections.empty())], DataConfig(**AS_ANNOTATED))
    assert all(set(clips[i].identity.tolist()) == {0, 1} for i in range(100))
    empty = Clips([Tracks.untracked(Detections.empty())], DataConfig(simulated=0.1, frames=3))
    assert all(empty[i].video == -1 for i in range(10))  # simulated worlds are what is left


def test_of_a_crowd_the_ones_around_somebody_are_taken():
    clips = Clips([marching(n=10)], DataConfig(max_objects=3, **AS_ANNOTATED))
    found = {tuple(sorted(set(clips[i].identity.tolist()))) for i in range(30)}
    assert all(len(ids) == 3 and ids[2] - ids[0] == 2 for ids in found)
    assert len(found) > 3


@pytest.mark.parametrize("n", [2, 5, 40])
def test_clips_of_a_crowd_are_short_and_keep_to_max_rows(n):
    truth = marching(n_frames=200, n=n)
    config = DataConfig(frames=60, max_rows=200, max_stride=2, max_objects=99, **AS_ANNOTATED)
    for i in range(10):
        clip = Clips([truth], config, seed=i)[0]
        n_frames = len(np.unique(column(clip, "frame")))
        assert n_frames == {2: 60, 5: 40, 40: 12}[n]
        assert len(clip.detections) == n * n_frames <= max(200, 12 * n)


def test_a_crowd_is_counted_after_those_around_one_were_taken():
    config = DataConfig(frames=60, max_rows=200, max_stride=1, max_objects=5, **AS_ANNOTATED)
    clip = Clips([marching(n_frames=200, n=40)], config)[0]
    assert len(np.unique(column(clip, "frame"))) == 40 and len(np.unique(clip.identity)) == 5


def test_clips_of_few_frames_may_be_asked_for_whatever_max_rows_says():
    config = DataConfig(frames=5, max_rows=1, max_stride=1, **AS_ANNOTATED)
    assert len(np.unique(column(Clips([marching()], config)[0], "frame"))) == 5


def test_simulated_worlds_keep_to_max_rows_too():
    config = DataConfig(simulated=1, noisy=0, frames=60, max_rows=150)
    clips = Clips([], config)
    for i in range(8):
        n = len(np.unique(clips[i].identity))
        assert len(clips[i].detections) <= max(150, 12 * n)


def nearest_alone(detections):
    """Somebody who takes everyone for new."""
    return np.arange(len(detections)) + 1000


def test_a_share_of_clips_is_remembered_by_the_tracks_that_are_set():
    clips = Clips([marching()], DataConfig(simulated=0, own=0.5))
    before = [clips[i] for i in range(40)]
    clips.set_tracks(nearest_alone)
    after = [clips[i] for i in range(40)]
    own = [np.array_equal(c.history, nearest_alone(c.detections)) for c in after]
    assert 10 < sum(own) < 30
    for a, b in zip(before, after, strict=True):  # the same detections and the same truth
        assert np.array_equal(a.detections.box, b.detections.box) and np.array_equal(a.identity, b.identity)
        assert not np.array_equal(a.history, nearest_alone(a.detections))
    clips.set_tracks(None)
    assert all(np.array_equal(clips[i].history, before[i].history) for i in range(5))


@pytest.mark.parametrize(("own", "n"), [(0.0, 0), (1.0, 10)])
def test_none_or_all_may_be_its_own_tracks(own, n):
    clips = Clips([marching()], DataConfig(simulated=0, own=own))
    clips.set_tracks(nearest_alone)
    assert sum(clips[i].history.min() >= 1000 for i in range(10)) == n


def test_an_exchange_lasts_and_a_broken_track_goes_on_under_a_new_number():
    identity, frame = np.tile([0, 1], 30), np.repeat(np.arange(30), 2)
    swapped = _mistaken(identity, frame, DataConfig(swap=0.1, fragment=0), np.random.default_rng(0))
    assert set(swapped.tolist()) == {0, 1}
    assert 0 < (swapped != identity).mean() < 1
    assert (swapped.reshape(-1, 2).sum(axis=1) == 1).all()  # never both the same
    broken = _mistaken(identity, frame, DataConfig(swap=0, fragment=0.05), np.random.default_rng(0))
    assert len(np.unique(broken)) > 2
    assert (np.diff(broken.reshape(-1, 2), axis=1) != 0).all()


def test_crops_show_the_right_frame_whatever_the_direction_of_time():
    truth = marching(n_frames=12, n=1)
    pixels = np.zeros((12, 120, 120), np.uint8)
    pixels += (np.arange(12) * 20).astype(np.uint8)[:, None, None]  # frame t has the brightness 20 t
    encoder = EncoderConfig(kind="conv", crop_size=16)
    config = DataConfig(frames=4, max_stride=2, **AS_ANNOTATED)
    clips = Clips([truth], config, [ArrayVideo(pixels)], encoder)
    backward = 0
    for i in range(20):
        clip = clips[i]
        shown = clip.crops.mean(axis=(1, 2, 3)) * 255 / 20
        assert shown == pytest.approx(clip.detections.box[:, 0], abs=0.01)  # x is the frame of the video
        backward += clip.detections.box[0, 0] > clip.detections.box[-1, 0]
    assert 0 < backward < 20


def test_one_video_for_each_truth():
    with pytest.raises(InputError, match="2 annotated videos but pixels of 1"):
        Clips([marching()] * 2, videos=[ArrayVideo(np.zeros((60, 9, 9), np.uint8))])


def test_backward_stretches_start_with_the_last_frame():
    stretch, timing = _stretch(marching(10), 10, 1, np.random.default_rng(1))
    assert timing in (_Timing(0, 1), _Timing(9, -1))
    x = stretch.detections.box[stretch.track == 0, 0]
    assert x.tolist() == (np.arange(10.0) if timing.step == 1 else np.arange(9.0, -1, -1)).tolist()


def test_who_hides_is_out_of_sight_for_long():
    """With `hidden` a part of them returns after more than five frames, and without it nobody does."""
    shares = []
    for hidden in (0.0, 1.0):
        clips = Clips([], {"frames": 40, "max_objects": 6, "simulated": 1.0, "hidden": hidden, "noisy": 0.0}, seed=5)
        gaps = []
        for clip in (clips[i] for i in range(8)):
            for who in np.unique(clip.identity[clip.identity >= 0]):
                gaps.append(np.diff(clip.detections.frame[clip.identity == who]).max(initial=0))
        shares.append(np.mean(np.array(gaps) > 5))
    assert shares[0] == 0 and shares[1] > 0.2
