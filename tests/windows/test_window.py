"""Windows ask what a tracker asks, and know the right answer."""

import numpy as np
import pytest
import torch

from kintrack.config import ModelConfig, TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Sightings
from kintrack.windows.window import Window, between, follow

MODEL = ModelConfig()


def clip(*frames):
    """Sightings and identities from one dict {identity: x} a frame; identity None is a false detection."""
    rows = [(t, -1 if who is None else who, x) for t, found in enumerate(frames) for who, x in found]
    frame, identity, x = (np.array(column) for column in zip(*rows, strict=True))
    centre = np.stack([x.astype(float), np.zeros(len(x))], axis=1)
    box = np.concatenate([centre - 5, centre + 5], axis=1)
    return Sightings.of(Detections(frame=frame, box=box)), identity


def links(window):
    """The pairs of detections that are the same individual, earlier first."""
    pairs = window.pairs[window.target]
    return sorted(zip(window.reference[pairs[:, 1]].tolist(), window.query[pairs[:, 0]].tolist(), strict=True))


def test_the_target_is_the_last_sighting_of_the_same_individual():
    seen, identity = clip([(0, 0), (1, 30)], [(1, 30), (0, 0)], [(0, 0), (1, 30)])
    for memory in (1, 2):
        asked = follow(seen, identity, MODEL, TrackerConfig(memory=memory))
        assert links(asked) == [(0, 3), (1, 2), (2, 5), (3, 4)]
    # As in GTR, each remembered sighting may be asked.
    gtr = {"compare": "sightings"}
    assert links(follow(seen, identity, MODEL, TrackerConfig(memory=1, **gtr))) == [(0, 3), (1, 2), (2, 5), (3, 4)]
    both = [(0, 3), (0, 4), (1, 2), (1, 5), (2, 5), (3, 4)]
    assert links(follow(seen, identity, MODEL, TrackerConfig(memory=2, **gtr))) == both


def pasts(window):
    """From which detection a track looks back at which."""
    return sorted(map(tuple, window.history.edges.tolist()))


def test_each_sighting_looks_back_at_those_that_its_track_remembers():
    seen, identity = clip([(0, 0), (1, 300)], [(0, 0)], [(0, 0)], [(1, 300), (0, 0)])
    whole = follow(seen, identity, MODEL, TrackerConfig())
    assert pasts(whole) == [(2, 0), (3, 0), (3, 2), (4, 1), (5, 0), (5, 2), (5, 3)]
    assert len(whole.history.past) == 7
    assert pasts(follow(seen, identity, MODEL, TrackerConfig(memory=2))) == [(2, 0), (3, 2), (4, 1), (5, 3)]
    for model, tracker in ((MODEL, {"memory": 1}), (MODEL, {"compare": "sightings"}), ({"history_layers": 0}, {})):
        assert pasts(follow(seen, identity, ModelConfig.of(model), TrackerConfig.of(tracker))) == []


def test_a_track_that_was_given_up_is_not_looked_back_at():
    seen, identity = clip([(0, 0)], [(1, 300)], [(1, 300)], [(1, 300), (0, 0)])
    assert pasts(follow(seen, identity, MODEL, TrackerConfig(max_gap=2))) == [(2, 1), (3, 1), (3, 2)]


def queried(window):
    return set(window.frame[window.pairs[:, 0]].tolist())


def test_of_easy_frames_only_every_so_many_are_asked_and_of_hard_ones_all():
    """Two far apart are easy. In frame 7 they are side by side, each as near to the other's place as to its own; in
    frame 10 there is one more near them, who is nobody."""
    frames = [[(0, 0), (1, 60)] for _ in range(14)]
    frames[7] = [(0, 30), (1, 34)]
    frames[10] = [(0, 0), (1, 60), (None, 12)]
    seen, identity = clip(*frames)
    every = follow(seen, identity, MODEL, TrackerConfig())
    assert queried(every) == set(range(1, 14))
    hard = queried(follow(seen, identity, MODEL, TrackerConfig(), easy=1000))
    assert {7, 10} <= hard and not {1, 2, 3, 4, 5, 6} & hard
    easy = sorted(queried(every) - hard)
    for n in (2, 3):
        assert queried(follow(seen, identity, MODEL, TrackerConfig(), easy=n)) == hard | set(easy[n - 1 :: n])


def test_what_is_not_asked_is_remembered_all_the_same():
    seen, identity = clip(*[[(0, 0), (1, 60)] for _ in range(6)])
    every = follow(seen, identity, MODEL, TrackerConfig())
    few = follow(seen, identity, MODEL, TrackerConfig(), easy=5)
    assert queried(few) == {5} and pasts(few) == pasts(every)
    assert torch.equal(few.pair, every.pair[-len(few.pair) :])


def test_false_detections_are_remembered_and_are_nobody():
    seen, identity = clip([(0, 0), (None, 20)], [(0, 0), (None, 20)])
    window = follow(seen, identity, MODEL, TrackerConfig())
    assert links(window) == [(0, 2)]
    assert len(window.pairs) == 4  # the false ones are candidates, too


def test_a_broken_track_is_continued_by_its_newest_piece():
    seen, identity = clip([(0, 0)], [(0, 1)], [(0, 2)])
    history = np.array([0, 7, 7])  # after the first frame the tracker had given a new number
    window = follow(seen, identity, MODEL, TrackerConfig(memory=1), history)
    pairs = {(int(window.reference[r]), int(window.query[q])) for q, r in window.pairs}
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    assert links(window) == [(0, 1), (1, 2)]  # 0 -> 2 would be a link to the older piece


def test_an_exchange_in_the_memory_is_lived_with():
    seen, identity = clip([(0, 0), (1, 30)], [(0, 0), (1, 30)], [(0, 0), (1, 30)])
    history = np.array([0, 1, 1, 0, 1, 0])
    assert links(follow(seen, identity, MODEL, TrackerConfig(memory=1), history)) == [(0, 2), (1, 3), (2, 4), (3, 5)]


@pytest.mark.parametrize("compare", ["track", "sightings"])
def test_row_groups_are_choices_of_a_query_and_column_groups_those_who_want_a_reference(compare):
    seen, identity = clip([(0, 0), (1, 30)], [(0, 0), (1, 30)], [(0, 0), (1, 30)])
    window = follow(seen, identity, MODEL, TrackerConfig(memory=2, compare=compare))
    rows, columns = {}, {}
    for (q, r), row, column in zip(
        window.pairs.tolist(), window.row_group.tolist(), window.column_group.tolist(), strict=True
    ):
        rows.setdefault(row, set()).add((q, int(seen.frame[window.reference[r]])))
        columns.setdefault(column, set()).add((r, int(window.frame[q])))
    assert all(len(found) == 1 for found in rows.values())  # here one frame a rank, so one query and one frame a group
    assert all(len(found) == 1 for found in columns.values())
    # Every choice has at most one right answer.
    right = torch.zeros(len(rows)).index_add(0, window.row_group, window.target.float())
    assert right.max() == 1


def test_everything_may_be_asked_of_everything():
    seen, identity = clip([(0, 0), (1, 300)], [(0, 1)])
    window = between(seen, np.arange(3), np.arange(3), MODEL, identity)
    # In its own frame a detection may only be itself: 0 and 1 are not asked of each other.
    assert window.pairs.tolist() == [[0, 0], [0, 2], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]
    assert window.target.tolist() == [True, True, True, False, True, False, True]
    assert between(seen, np.arange(3), np.arange(3), MODEL).target is None


def test_what_has_no_place_is_no_candidate():
    box = np.array([[0, 0, 9, 9], [np.nan] * 4, [1, 0, 10, 9]])
    seen = Sightings.of(Detections(frame=[0, 1, 2], box=box))
    window = between(seen, np.arange(3), np.arange(3), MODEL, np.zeros(3, int))
    assert len(window.pairs) == 4
    assert torch.isfinite(window.pair).all()


def test_collated_windows_keep_their_pairs_and_groups_apart():
    a = follow(*clip([(0, 0), (1, 30)], [(0, 0), (1, 30)]), MODEL, TrackerConfig())
    b = follow(*clip([(0, 0)], [(0, 0)]), MODEL, TrackerConfig())
    both = Window.collate([a, b, a])
    assert len(both.pairs) == 2 * len(a.pairs) + len(b.pairs)
    assert len(both.row_group.unique()) == 2 * len(a.row_group.unique()) + len(b.row_group.unique())
    assert len(both.column_group.unique()) == 2 * len(a.column_group.unique()) + len(b.column_group.unique())
    n = len(a.graph.node)
    assert both.query[len(a.query) :].min() >= n
    assert torch.equal(both.graph.node[n : n + len(b.graph.node)], b.graph.node)
    assert pasts(both) == [(2, 0), (3, 1), (n + 1, n), (n + 4, n + 2), (n + 5, n + 3)]


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 2)])
def test_clips_without_questions_are_windows_too(rows):
    seen, identity = clip([(0, 0), (1, 30)], [(0, 0)])
    window = follow(seen.take(rows), identity[rows], MODEL, TrackerConfig())
    assert len(window.pairs) == 0 and window.target.shape == (0,)
    assert len(Window.collate([window, window]).pairs) == 0


def test_a_window_moves_as_a_whole():
    window = follow(*clip([(0, 0)], [(0, 0)]), MODEL, TrackerConfig())
    moved = window.to("meta")
    assert {t.device.type for t in (*moved.graph, *moved.history, moved.pair, moved.target)} == {"meta"}
    assert moved.crops is None


def test_a_track_is_whose_it_was_most_often_and_is_taught_to_come_back():
    pair = [(0, 0), (1, 12)]
    seen, identity = clip(pair, pair, pair, pair)
    # In the third frame the two tracks took each other's detection; in the fourth each is asked who it is.
    track = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    assert [link for link in links(follow(seen, identity, MODEL, TrackerConfig(), track)) if link[1] > 5] == [
        (4, 7),
        (5, 6),
    ]
    # Who remembers one sighting knows nothing better than that.
    forgetful = follow(seen, identity, MODEL, TrackerConfig(memory=1), track)
    assert [link for link in links(forgetful) if link[1] > 5] == [(4, 6), (5, 7)]


def test_a_track_that_took_a_false_detection_is_still_whose_it_was():
    seen, identity = clip([(0, 0)], [(0, 0)], [(None, 3)], [(0, 0)])
    asked = follow(seen, identity, MODEL, TrackerConfig(), track=np.zeros(4, int))
    assert links(asked) == [(0, 1), (2, 3)]


def test_a_broken_individual_belongs_to_the_piece_that_saw_it_last():
    seen, identity = clip(*[[(0, 0)]] * 5)
    asked = follow(seen, identity, MODEL, TrackerConfig(), track=np.array([7, 7, 7, 9, 9]))
    assert links(asked) == [(0, 1), (1, 2), (2, 3), (3, 4)]
