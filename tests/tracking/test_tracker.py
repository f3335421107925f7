"""The online tracker: its promises, whatever scores it is given."""

import numpy as np
import pytest

from kintrack.config import TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Sightings
from kintrack.core.tracks import same_tracks
from kintrack.errors import AlignmentError, ConfigError
from kintrack.tracking import Tracker


def by_distance(query, memory, pairs):
    """Five lines that stand for a model: the nearer, the likelier; beyond three sizes rather not."""
    r = memory.sightings
    apart = np.linalg.norm(query.centre[pairs[:, 0]] - r.centre[pairs[:, 1]], axis=1)
    return 3.0 - apart / query.size[pairs[:, 0]]


def walkers(n_frames=30, n=4, seed=0, missed=0.0):
    """Boxes of 10 pixels that drift apart from each other, some missed, in random order in each frame."""
    rng = np.random.default_rng(seed)
    start = rng.permuted(np.arange(n) * 60.0)
    frame, who = np.meshgrid(np.arange(n_frames), np.arange(n), indexing="ij")
    centre = np.stack([start[who] + frame * 2.0, 100 + 3 * np.sin(frame / 3 + who)], axis=-1).reshape(-1, 2)
    frame, who = frame.ravel(), who.ravel()
    kept = rng.random(len(frame)) >= missed
    order = np.lexsort((rng.random(kept.sum()), frame[kept]))
    frame, who, centre = frame[kept][order], who[kept][order], centre[kept][order]
    return Detections(frame=frame, box=np.concatenate([centre - 5, centre + 5], axis=1)), who


def points(*frames, size=10.0, **columns):
    """Detections from one list of centres a frame."""
    frame = [t for t, found in enumerate(frames) for _ in found]
    centre = np.array([c for found in frames for c in found], float).reshape(-1, 2)
    return Detections.of(frame, np.concatenate([centre - size / 2, centre + size / 2], axis=1), **columns)


def test_each_walker_keeps_its_own_id():
    detections, who = walkers()
    assert same_tracks(Tracker()(by_distance, detections).track, who)


def test_gaps_are_bridged_up_to_max_gap_and_no_further():
    seen = points([(0, 0)], [(0, 0)], [], [], [(0, 0)])
    assert Tracker({"max_gap": 3})(by_distance, seen).track.tolist() == [0, 0, 0]
    assert Tracker({"max_gap": 2})(by_distance, seen).track.tolist() == [0, 0, 1]


def test_a_track_that_was_seen_once_is_soon_forgotten():
    seen = points([(0, 0)], [], [], [], [], [(0, 0)])
    assert Tracker({"gap_per_sighting": 4})(by_distance, seen).track.tolist() == [0, 1]
    assert Tracker({"gap_per_sighting": 5})(by_distance, seen).track.tolist() == [0, 0]


def test_who_returns_after_max_lost_gets_a_new_id_if_so_asked():
    seen = points([(0, 0)], [(0, 0)], [], [(0, 0)])
    assert Tracker({"returning": "reidentify"})(by_distance, seen).track.tolist() == [0, 0, 0]
    assert Tracker({"returning": "new", "max_lost": 1})(by_distance, seen).track.tolist() == [0, 0, 1]
    assert Tracker({"returning": "new", "max_lost": 2})(by_distance, seen).track.tolist() == [0, 0, 0]


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("max_tracks", [None, 3])
@pytest.mark.parametrize("missed", [0.0, 0.3])
def test_no_id_is_there_twice_in_a_frame_and_no_detection_is_lost(combine, max_tracks, missed):
    detections, _ = walkers(n=6, missed=missed, seed=3)
    rng = np.random.default_rng(0)

    def chaos(query, memory, pairs):
        return rng.normal(size=len(pairs))

    tracks = Tracker({"combine": combine, "max_tracks": max_tracks, "gate": 50})(
        chaos, detections
    )  # Tracks checks the ids
    assert len(tracks) == len(detections)
    assert tracks.detections is detections
    if max_tracks is None:
        assert (tracks.track >= 0).all()
    else:
        assert len(tracks.ids) == max_tracks


@pytest.mark.parametrize("cuts", [[1], [7, 8, 20], list(range(1, 30))])
def test_the_result_does_not_depend_on_how_the_video_is_cut_into_chunks(cuts):
    detections, _ = walkers(missed=0.2)
    whole = Tracker()(by_distance, detections)
    tracker = Tracker(persistent_tracking=True)
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, 30], strict=True):
        parts.append(tracker(by_distance, detections.take(detections.rows(start, stop))))
    assert np.array_equal(np.concatenate([p.track for p in parts]), whole.track)
    assert np.array_equal(np.concatenate([p.confidence for p in parts]), whole.confidence, equal_nan=True)


@pytest.mark.parametrize("again", [3, 2])
def test_half_a_frame_or_a_step_back_in_time_is_refused(again):
    """It would end in an id that is twice in a frame."""
    tracker = Tracker(persistent_tracking=True)
    tracker(by_distance, points([], [], [], [(0, 0)]))
    with pytest.raises(AlignmentError, match=rf"frame {again} after frame 3; give whole frames .* or reset\(\) it"):
        tracker(by_distance, points(*[[]] * again, [(1, 0)]))
    tracker.reset()
    assert tracker(by_distance, points([(1, 0)])).track.tolist() == [0]


def test_chunks_with_other_columns_are_refused_by_name():
    tracker = Tracker(persistent_tracking=True)
    tracker(by_distance, points([(0, 0)], keypoints=np.zeros((1, 2, 2))))
    with pytest.raises(AlignmentError, match="whose keypoints differ from what it was given now; give all chunks"):
        tracker(by_distance, points([], [(0, 0)]))
    with pytest.raises(AlignmentError, match="whose keypoints differ"):
        tracker(by_distance, points([], [(0, 0)], keypoints=np.zeros((1, 3, 2))))


def test_without_persistent_tracking_each_call_is_a_video_of_its_own():
    detections, _ = walkers(n_frames=3)
    tracker = Tracker()
    assert np.array_equal(tracker(by_distance, detections).track, tracker(by_distance, detections).track)
    tracker.persistent_tracking = True
    tracker.reset()
    first = tracker(by_distance, detections.take(detections.rows(0, 1))).track
    later = tracker(by_distance, detections.take(detections.rows(1, 2))).track
    assert sorted(first) == sorted(later)


def test_max_tracks_is_a_true_cap_and_lost_ids_are_bound_again():
    # The second animal vanishes and comes back far away, where no gate would look for it.
    seen = points([(0, 0), (100, 0)], [(0, 0), (100, 0)], *[[(0, 0)]] * 9, [(0, 0), (400, 300)])
    assert Tracker()(by_distance, seen).track.tolist() == [0, 1, 0, 1, *[0] * 10, 2]
    assert Tracker({"max_tracks": 2})(by_distance, seen).track.tolist() == [0, 1, 0, 1, *[0] * 10, 1]


def test_a_lost_id_reaches_as_far_as_the_gate_for_each_frame_that_it_is_lost():
    """A false detection on the other side does not take the id of one who was missed for a moment."""
    seen = points([(0, 0), (100, 0)], [(0, 0), (400, 300)], [(0, 0), (100, 0)])
    assert Tracker({"max_tracks": 2})(by_distance, seen).track.tolist() == [0, 1, 0, -1, 0, 1]
    near = points([(0, 0), (100, 0)], [(0, 0)], [(0, 0), (100, 110)])
    assert Tracker({"max_tracks": 2, "gate": 6})(by_distance, near).track.tolist() == [0, 1, 0, 0, 1]
    assert Tracker({"max_tracks": 2, "gate": 5})(by_distance, near).track.tolist() == [0, 1, 0, 0, -1]


def test_a_false_detection_keeps_an_id_only_until_it_is_gone():
    missed = [[(0, 0)]] * 10
    seen = points([(0, 0), (500, 0)], *missed, [(0, 0), (0, 90)], [(0, 0), (0, 90), (500, 0)])
    assert Tracker({"max_tracks": 2})(by_distance, seen).track.tolist() == [0, 1, *[0] * 10, 0, 1, 0, 1, -1]


def test_with_max_tracks_the_surest_detections_get_the_ids_and_the_others_stay_untracked():
    seen = points([(0, 0), (50, 0), (100, 0)], [(0, 0), (50, 0), (100, 0)], score=[0.9, 0.1, 0.8, 0.9, 0.1, 0.8])
    assert Tracker({"max_tracks": 2})(by_distance, seen).track.tolist() == [0, -1, 1, 0, -1, 1]


def test_the_memory_of_a_known_number_of_animals_has_no_end():
    seen = points([(0, 0), (50, 0)], *[[]] * 200, [(0, 0), (50, 0)])
    assert Tracker({"max_tracks": 2})(by_distance, seen).track.tolist() == [0, 1, 0, 1]


def test_a_low_score_starts_no_track_but_may_continue_one():
    seen = points([(0, 0), (99, 0)], [(0, 0), (99, 0)], score=[0.9, 0.2, 0.2, 0.2])
    assert Tracker({"min_score": 0.5})(by_distance, seen).track.tolist() == [0, -1, 0, -1]


def test_a_detection_without_a_place_stays_untracked_and_in_the_table():
    box = np.array([[0, 0, 9, 9], [np.nan] * 4, [0, 0, 9, 9]])
    seen = Detections(frame=[0, 0, 1], box=box)
    assert Tracker()(by_distance, seen).track.tolist() == [0, -1, 0]


def test_points_are_tracked_without_a_size_being_given():
    detections, who = walkers()
    centre = detections.centre
    bare = Detections(frame=detections.frame, box=np.concatenate([centre, centre], axis=1))
    assert same_tracks(Tracker()(by_distance, bare).track, who)


def test_nothing_in_nothing_out():
    tracks = Tracker()(by_distance, Detections.empty())
    assert len(tracks) == 0 and len(tracks.ids) == 0


def test_videos_may_start_late_and_have_empty_frames():
    late = points(*[[]] * 7, [(0, 0)], [], [(1, 0)])
    assert Tracker()(by_distance, late).track.tolist() == [0, 0]


def odds(probability):
    return probability / (1 - probability)


def test_a_link_carries_its_probability_and_what_had_no_alternative_none():
    seen = points([(0, 0)], [(0, 0)], [(10, 0)])
    tracks = Tracker({"memory": 1})(by_distance, seen)
    assert np.isnan(tracks.confidence[0])
    assert odds(tracks.confidence[1:]) == pytest.approx(np.exp([3, 2]))


def test_rivals_on_either_side_make_a_link_less_probable():
    alone, beside = points([(0, 0)], [(0, 0)]), points([(0, 0)], [(0, 0), (20, 0)])
    seen = [Tracker()(by_distance, d).confidence[1] for d in (alone, beside)]
    assert odds(np.array(seen)) == pytest.approx([np.exp(3), np.exp(3) / (1 + np.exp(1))])
    two_tracks = points([(0, 0), (20, 0)], [(0, 0)])
    assert Tracker()(by_distance, two_tracks).confidence[2] == pytest.approx(seen[1])


def test_a_start_carries_the_probability_that_it_is_none_of_those_near_it():
    seen = points([(0, 0)], [(40, 0)])  # a logit of -1
    tracks = Tracker()(by_distance, seen)
    assert tracks.track.tolist() == [0, 1]
    assert odds(tracks.confidence[1]) == pytest.approx(np.exp(1))
    far = points([(0, 0)], [(400, 0)])
    assert np.isnan(Tracker()(by_distance, far).confidence).all()


def test_the_temperature_and_the_bias_change_confidences_and_no_link():
    detections, _ = walkers(missed=0.2)
    plain = Tracker()(by_distance, detections)
    config = {"confidence_temperature": 2.0, "confidence_bias": 1.5}
    fitted = Tracker(config)(by_distance, detections)
    assert np.array_equal(fitted.track, plain.track)
    is_link = np.isin(np.arange(len(plain)), plain.links()[:, 1])
    known = ~np.isnan(plain.confidence)
    assert (is_link & known).any() and (~is_link & known).any()
    side = np.where(is_link, 1.0, -1.0)
    expected = (np.log(odds(plain.confidence)) + 1.5 * side) / 2
    assert np.log(odds(fitted.confidence))[known] == pytest.approx(expected[known])


def test_a_detection_without_an_id_and_one_bound_by_its_place_alone_have_no_confidence():
    lost = points([(0, 0), (100, 0)], [(0, 0)], [(0, 0), (60, 0)])  # a logit of -1: bound, not linked
    tracks = Tracker({"max_tracks": 2})(by_distance, lost)
    assert tracks.track.tolist() == [0, 1, 0, 0, 1]
    assert np.isnan(tracks.confidence).tolist() == [True, True, False, False, True]
    low = points([(0, 0)], [(40, 0)], score=[0.9, 0.1])
    tracks = Tracker({"min_score": 0.5})(by_distance, low)
    assert tracks.track.tolist() == [0, -1] and np.isnan(tracks.confidence).all()


def test_a_threshold_refuses_less_likely_links():
    seen = points([(0, 0)], [(10, 0)])  # a logit of 2: 0.88
    assert Tracker({"threshold": 0.8})(by_distance, seen).track.tolist() == [0, 0]
    assert Tracker({"threshold": 0.9})(by_distance, seen).track.tolist() == [0, 1]


def test_the_mean_over_sightings_keeps_its_meaning_and_the_sum_does_not():
    seen = points([(0, 0)], [(0, 0)], [(0, 0)], [(28, 0)])  # 2.8 sizes away from every sighting: a logit of 0.2 each

    def track(combine):
        config = {"compare": "sightings", "combine": combine, "threshold": 0.7}
        return Tracker(config)(by_distance, seen).track.tolist()

    assert track("mean") == [0, 0, 0, 1]
    assert track("sum") == [0, 0, 0, 0]


def test_ground_truth_cannot_reach_the_score():
    fields = set(Sightings.of(points([(0, 0)])).columns())
    assert fields.isdisjoint({"track", "identity", "extra", "is_user", "label"})


def test_the_same_detections_give_the_same_tracks_and_are_not_changed():
    detections, _ = walkers(missed=0.2)
    before = {name: column.copy() for name, column in detections.columns().items()}
    first, second = Tracker()(by_distance, detections), Tracker()(by_distance, detections)
    assert np.array_equal(first.track, second.track)
    assert all(np.array_equal(before[name], column) for name, column in detections.columns().items())


def test_a_known_number_of_animals_cannot_return_as_others():
    with pytest.raises(
        ConfigError, match="max_tracks 3 says that there are never more individuals, and returning 'new'"
    ):
        Tracker({"max_tracks": 3, "returning": "new"})


def test_an_unknown_option_is_refused_with_a_guess():
    with pytest.raises(ConfigError, match="unknown option 'max_trakcs': did you mean 'max_tracks'"):
        Tracker({"max_trakcs": 3})
    with pytest.raises(ConfigError, match="'max_tracks' is 0"):
        TrackerConfig.of({"max_tracks": 0})
