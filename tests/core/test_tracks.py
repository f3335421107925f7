"""Tracks: identities, links, gaps, divisions, lineages, and what is refused."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worlds
from kintrack.core.detections import Detections
from kintrack.core.tracks import UNTRACKED, Tracks, same_tracks
from kintrack.errors import InputError


def table(frame: list[int]) -> Detections:
    return Detections.of(frame, np.zeros((len(frame), 4)))


def test_two_who_cross_keep_their_identities_and_are_linked_from_frame_to_frame() -> None:
    tracks = worlds.crossing()
    assert tracks.ids.tolist() == [0, 1]
    assert tracks.spans() == {0: (0, 7), 1: (0, 7)}
    assert len(tracks.links()) == 14
    assert (tracks.track[tracks.links()[:, 0]] == tracks.track[tracks.links()[:, 1]]).all()
    assert len(tracks.gaps()) == 0 and tracks.divisions() == {} and tracks.lineages() == {0: 0, 1: 1}


def test_a_gap_is_a_link_that_skips_frames() -> None:
    tracks = worlds.gap()
    (gap,) = tracks.gaps()
    assert tracks.detections.frame[gap].tolist() == [1, 4]
    assert tracks.track[gap].tolist() == [0, 0]


def test_a_division_ends_a_track_and_starts_two() -> None:
    tracks = worlds.division()
    assert tracks.divisions() == {0: [1, 2], 2: [3, 4]}
    assert tracks.lineages() == dict.fromkeys(range(5), 0)
    links = tracks.track[tracks.links()].tolist()
    assert [pair for pair in links if pair[0] != pair[1]] == [[0, 1], [0, 2], [2, 3], [2, 4]]
    assert (np.diff(tracks.links()[:, 1]) >= 0).all()


def test_a_parent_with_a_single_child_is_no_division() -> None:
    tracks = Tracks(table([0, 1]), [0, 1], [[1, 0]])
    assert tracks.divisions() == {} and tracks.lineages() == {0: 0, 1: 0}
    assert tracks.links().tolist() == [[0, 1]]


def test_untracked_rows_belong_to_no_track_and_have_no_links() -> None:
    tracks = worlds.missed()
    loose = np.flatnonzero(tracks.track == UNTRACKED)
    assert len(loose) == 3 and tracks.ids.tolist() == [0]
    assert tracks.detections.frame[tracks.gaps()].tolist() == [[1, 3], [3, 5]]
    assert not np.isin(tracks.links(), loose).any()
    assert Tracks.untracked(tracks.detections).ids.tolist() == []
    assert len(Tracks.untracked(tracks.detections).links()) == 0


def test_who_leaves_and_returns_is_one_track_with_a_gap() -> None:
    tracks = worlds.leaves_and_returns()
    assert tracks.spans() == {0: (0, 7), 1: (0, 7)}
    assert tracks.detections.frame[tracks.gaps()].tolist() == [[2, 6]]


@pytest.mark.parametrize(("world", "ids"), [(worlds.empty, []), (worlds.one_detection, [0])])
def test_next_to_nothing_is_tracks_too(world: Callable[[], Tracks], ids: list[int]) -> None:
    tracks = world()
    assert tracks.ids.tolist() == ids and list(tracks.spans()) == ids
    assert tracks.links().shape == tracks.gaps().shape == (0, 2)
    assert tracks.lineages() == {i: i for i in ids}
    assert same_tracks(tracks.renumbered().track, tracks.track)
    assert same_tracks(Tracks.from_links(tracks.detections, []).track, tracks.track)
    assert len(tracks.take(slice(0, 0))) == 0


def test_names_are_numbers_where_there_are_none() -> None:
    tracks = Tracks(table([0, 0]), [0, 7], names={7: "Anna"})
    assert (tracks.name(0), tracks.name(7)) == ("0", "Anna")


def test_tracks_describe_themselves() -> None:
    assert repr(worlds.division()) == "Tracks(5 tracks, 12 rows, 2 divisions)"
    assert repr(worlds.missed()) == "Tracks(1 tracks, 7 rows, 3 untracked)"


def test_links_that_part_are_a_division_even_within_what_was_one_track() -> None:
    tracks = Tracks.from_links(table([0, 1, 2, 2]), [[0, 1], [1, 2], [1, 3]])
    assert tracks.track.tolist() == [0, 0, 1, 2] and tracks.parent.tolist() == [[1, 0], [2, 0]]


@st.composite
def forests(draw: st.DrawFn) -> tuple[Detections, np.ndarray]:
    """A table and links: each row has at most one earlier row before it, any number of later ones after it."""
    frame = sorted(draw(st.lists(st.integers(0, 8), max_size=25)))
    links = []
    for row, t in enumerate(frame):
        earlier = sum(other < t for other in frame)
        before = draw(st.integers(-1, earlier - 1))
        if before >= 0:
            links.append((before, row))
    shuffled = draw(st.permutations(links))
    return table(frame), np.array(shuffled, np.int64).reshape(-1, 2)


@settings(max_examples=200)
@given(forests())
def test_forests_survive_becoming_tracks_and_links_again(forest: tuple[Detections, np.ndarray]) -> None:
    detections, links = forest
    tracks = Tracks.from_links(detections, links)
    np.testing.assert_array_equal(tracks.links(), links[np.argsort(links[:, 1], kind="stable")])
    again = Tracks.from_links(detections, tracks.links())
    np.testing.assert_array_equal(again.track, tracks.track)
    np.testing.assert_array_equal(again.parent, tracks.parent)
    many = np.bincount(links[:, 0], minlength=len(detections)) > 1
    assert len(tracks.divisions()) == many.sum()
    np.testing.assert_array_equal(tracks.renumbered().track, tracks.track)


@settings(max_examples=50)
@given(forests(), st.data())
def test_any_rows_of_valid_tracks_are_valid_tracks(forest: tuple[Detections, np.ndarray], data: st.DataObject) -> None:
    tracks = Tracks.from_links(*forest)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(tracks), max_size=len(tracks))), bool)
    left = tracks.take(keep)
    np.testing.assert_array_equal(left.track, tracks.track[keep])
    kept = {tuple(pair) for pair in left.parent.tolist()}
    alive = set(left.ids.tolist())
    assert kept == {(c, p) for c, p in tracks.parent.tolist() if c in alive and p in alive}


def test_taking_rows_keeps_names_and_confidence() -> None:
    tracks = Tracks(table([0, 1, 2]), [0, 0, 1], names={0: "A"}, confidence=[np.nan, 0.5, 1.0])
    left = tracks.take([1, 2])
    assert left.name(0) == "A" and left.confidence is not None and left.confidence.tolist() == [0.5, 1.0]


def test_renumbering_counts_tracks_as_they_appear() -> None:
    tracks = Tracks(table([0, 0, 1, 2]), [9, UNTRACKED, 9, 4], [[4, 9]], {9: "mother", 3: "nobody"}, [np.nan] * 4)
    new = tracks.renumbered()
    assert new.track.tolist() == [0, UNTRACKED, 0, 1]
    assert new.parent.tolist() == [[1, 0]] and new.names == {0: "mother"}
    assert same_tracks(new.track, tracks.track)


def test_the_same_individuals_are_told_apart_whatever_the_numbers() -> None:
    a = np.array([0, 0, 1, -1])
    assert same_tracks(a, np.array([5, 5, 2, -1]))
    assert not same_tracks(a, np.array([0, 1, 1, -1]))
    assert not same_tracks(a, np.array([0, 0, 0, -1]))
    assert not same_tracks(a, np.array([0, 0, 1, 2]))
    assert not same_tracks(a, np.array([0, 0, 1]))
    assert same_tracks(np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_tracks_are_values_that_nobody_can_change() -> None:
    track, names = np.array([0, 1]), {0: "A"}
    tracks = Tracks(table([0, 0]), track, names=names)
    track[0], names[0] = 0, "B"
    assert tracks.name(0) == "A"
    for column in (tracks.track, tracks.parent):
        assert not column.flags.writeable


def test_tracks_survive_copying_and_pickling() -> None:
    tracks = worlds.division()
    for twin in (copy.deepcopy(tracks), pickle.loads(pickle.dumps(tracks))):
        np.testing.assert_array_equal(twin.track, tracks.track)
        np.testing.assert_array_equal(twin.parent, tracks.parent)
        assert twin.names == tracks.names


def test_asking_leaves_tracks_byte_for_byte_as_they_were() -> None:
    tracks = worlds.division()
    before = tracks.track.tobytes(), tracks.parent.tobytes(), dict(tracks.names)
    for ask in (tracks.links, tracks.gaps, tracks.spans, tracks.divisions, tracks.lineages, tracks.renumbered):
        ask()
    tracks.take([0, 1])
    assert (tracks.track.tobytes(), tracks.parent.tobytes(), dict(tracks.names)) == before


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an id too few": (
        {"track": [0, 0]},
        r"track has shape \(2,\) but there are 3 detections; give one id a row, -1 for untracked",
    ),
    "an id below -1": ({"track": [0, 0, -2]}, "track id -2 is negative; ids count from 0, and -1 means untracked"),
    "half an id": ({"track": [0, 0, 0.5]}, "column 'track' holds 0.5, which is no int64 number"),
    "two in one frame": (
        {"frame": [0, 1, 1], "track": [4, 4, 4]},
        r"track 4 has two detections in frame 1 \(rows 1 and 2\); a track has at most one .* another id, or -1",
    ),
    "a confidence too few": ({"confidence": [1, 1]}, r"confidence has shape \(2,\) but there are 3 detections"),
    "a confidence in percent": ({"confidence": [1, 99, 1]}, "wanted numbers between 0 and 1, or nan where nothing"),
    "parents in three columns": (
        {"parent": [[1, 0, 0], [2, 0, 0]]},
        r"parent has shape \(2, 3\); wanted \(P, 2\), rows of child and parent",
    ),
    "two parents": (
        {"track": [0, 1, 2], "parent": [[2, 0], [2, 1]]},
        "track 2 has several parents; a track comes from one",
    ),
    "an unknown child": ({"parent": [[8, 0]]}, "parent table names track 8 as a child, but no detection has that id"),
    "an unknown parent": ({"track": [0, 1, 2], "parent": [[1, 8]]}, "names track 8 as a parent, but no detection"),
    "a child before its parent": (
        {"track": [0, 1, 0], "parent": [[1, 0]]},
        "track 1 starts in frame 1 but its parent 0 lasts until frame 2; a child starts after its parent ends",
    ),
    "its own parent": ({"track": [0, 0, 0], "parent": [[0, 0]]}, "track 0 starts in frame 0 but its parent 0 lasts"),
}


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG.keys())
def test_tracks_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    frame = given.get("frame", [0, 1, 2])
    columns = {"track": [0, 0, 0]} | {name: value for name, value in given.items() if name != "frame"}
    with pytest.raises(InputError, match=words):
        Tracks(table(frame), **columns)


def test_links_that_cannot_be_are_refused() -> None:
    detections = table([0, 0, 1, 2])
    with pytest.raises(
        InputError, match=r"row 2 \(frame 1\) has several predecessors; tracks may divide but not merge"
    ):
        Tracks.from_links(detections, [[0, 2], [1, 2]])
    with pytest.raises(InputError, match="link 3 -> 2 leads from frame 2 to 1; links lead forward in time"):
        Tracks.from_links(detections, [[3, 2]])
    with pytest.raises(InputError, match="link 0 -> 1 leads from frame 0 to 0"):
        Tracks.from_links(detections, [[0, 1]])
    for odd in (4, -1):
        with pytest.raises(InputError, match=f"a link names row {odd}, but the table has 4 rows, counted from 0"):
            Tracks.from_links(detections, [[0, odd]])
    with pytest.raises(InputError, match=r"links have shape \(2, 3\); wanted \(E, 2\), pairs of rows"):
        Tracks.from_links(detections, [[0, 1, 2], [0, 1, 2]])


def test_the_doubtful_rows_are_the_least_sure_first_of_no_more_frames_than_asked_for():
    frame = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    seen = Detections(frame=frame, box=np.zeros((8, 4)))
    sure = np.array([np.nan, np.nan, 0.5, 0.8, 0.2, 0.95, 0.89, 0.9])
    tracks = Tracks(seen, [0, 1, 0, 1, 0, 1, 0, 1], confidence=sure)
    assert tracks.doubtful().tolist() == [4, 2, 3, 6]
    assert tracks.doubtful(frames=2).tolist() == [4, 2, 3]
    assert tracks.doubtful(frames=1, below=1.0).tolist() == [4, 5]
    assert tracks.doubtful(frames=0).tolist() == tracks.doubtful(below=0.1).tolist() == []


def test_tracks_without_confidence_have_no_doubtful_rows():
    assert Tracks(Detections(frame=[0], box=np.zeros((1, 4))), [0]).doubtful().tolist() == []
