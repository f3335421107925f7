"""TrackMate's files: spots, splits and merges, calibration, tables of spots and edges, and what is refused."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kintrack import api, io
from kintrack.core import boxes
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.errors import FormatError, InputError
from worlds import crossing, division

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
IMAGE = (
    '<Settings><ImageData filename="cells.tif" folder="/data" width="64" height="48" nframes="9" pixelwidth="0.5" '
    'pixelheight="0.25" voxeldepth="2.0" timeinterval="2.0" /></Settings>'
)

# As TrackMate 7 writes it: a track that splits (1 -> 2 -> {3, 4}), one that merges (5, 6 -> 7), one filtered out
# (8 -> 9), a spot without a track (10) and one that is not visible (11). Edges need not be in the order of time.
SESSION = f"""{HEAD}<TrackMate version="7.11.1">
  <Log>Hello.</Log>
  <Model spatialunits="micron" timeunits="sec">
    <AllSpots nspots="11">
      <SpotsInFrame frame="2">
        <Spot ID="1" name="ID1" QUALITY="4.5" POSITION_X="10.0" POSITION_Y="5.0" POSITION_Z="0.0" FRAME="2" RADIUS="1.0"
              VISIBILITY="1" MEAN_INTENSITY_CH1="7.25" />
        <Spot ID="5" QUALITY="3.0" POSITION_X="20.0" POSITION_Y="2.0" POSITION_Z="0.0" FRAME="2" RADIUS="1.0" />
        <Spot ID="6" QUALITY="3.0" POSITION_X="22.0" POSITION_Y="2.0" POSITION_Z="0.0" FRAME="2" RADIUS="1.0" />
        <Spot ID="11" QUALITY="0.1" POSITION_X="1.0" POSITION_Y="1.0" POSITION_Z="0.0" FRAME="2" RADIUS="1.0"
              VISIBILITY="0" />
      </SpotsInFrame>
      <SpotsInFrame frame="3">
        <Spot ID="2" QUALITY="4.5" POSITION_X="11.0" POSITION_Y="5.0" POSITION_Z="0.0" FRAME="3" RADIUS="1.0" />
        <Spot ID="8" QUALITY="1.0" POSITION_X="3.0" POSITION_Y="9.0" POSITION_Z="0.0" FRAME="3" RADIUS="1.0" />
        <Spot ID="10" QUALITY="2.0" POSITION_X="30.0" POSITION_Y="9.0" POSITION_Z="0.0" FRAME="3" RADIUS="1.0" />
      </SpotsInFrame>
      <SpotsInFrame frame="5">
        <Spot ID="3" QUALITY="4.5" POSITION_X="12.0" POSITION_Y="6.0" POSITION_Z="0.0" FRAME="5" RADIUS="1.0" />
        <Spot ID="4" QUALITY="4.5" POSITION_X="12.0" POSITION_Y="4.0" POSITION_Z="0.0" FRAME="5" RADIUS="1.0" />
        <Spot ID="7" QUALITY="4.5" POSITION_X="20.5" POSITION_Y="2.0" POSITION_Z="0.0" FRAME="5" RADIUS="1.0"
              ROI_N_POINTS="4">-1.0 -0.5 1.0 -0.5 1.0 0.5 -1.0 0.5</Spot>
        <Spot ID="9" QUALITY="1.0" POSITION_X="3.5" POSITION_Y="9.0" POSITION_Z="0.0" FRAME="5" RADIUS="1.0" />
      </SpotsInFrame>
    </AllSpots>
    <AllTracks>
      <Track name="Mother &amp; daughters" TRACK_ID="3">
        <Edge SPOT_SOURCE_ID="2" SPOT_TARGET_ID="4" LINK_COST="1.0" />
        <Edge SPOT_SOURCE_ID="1" SPOT_TARGET_ID="2" LINK_COST="1.0" />
        <Edge SPOT_SOURCE_ID="3" SPOT_TARGET_ID="2" LINK_COST="1.0" />
      </Track>
      <Track name="Track_4" TRACK_ID="4">
        <Edge SPOT_SOURCE_ID="6" SPOT_TARGET_ID="7" />
        <Edge SPOT_SOURCE_ID="5" SPOT_TARGET_ID="7" />
      </Track>
      <Track name="Track_9" TRACK_ID="9"><Edge SPOT_SOURCE_ID="8" SPOT_TARGET_ID="9" /></Track>
    </AllTracks>
    <FilteredTracks><TrackID TRACK_ID="3" /><TrackID TRACK_ID="4" /></FilteredTracks>
  </Model>
  {IMAGE}
</TrackMate>
"""

TABLE = """LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS,VISIBILITY
Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Radius,Visibility
Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,R,Visibility
,,,(quality),({unit}),({unit}),({unit}),(sec),,({unit}),
ID7,7,0,1.5,2.0,4.0,0.0,3.0,3,0.5,1
ID4,4,0,1.5,1.0,4.0,0.0,1.0,1,0.5,1
ID5,5,,1.5,9.0,4.0,0.0,1.0,1,0.5,1
ID6,6,2,1.5,3.0,4.0,0.0,2.0,2,0.5,1
"""
SPLIT = "ID8,8,0,1.5,2.5,4.0,0.0,3.0,3,0.5,1\n"
EDGES = """LABEL,TRACK_ID,SPOT_SOURCE_ID,SPOT_TARGET_ID
Label,Track ID,Source,Target
Label,Track ID,Source,Target
,,,
4-7,0,4,7
4-8,0,4,8
"""


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return _written(tmp_path / "session.xml", SESSION)


def _by_id(tracks: Tracks) -> dict[int, int]:
    """The track of each spot."""
    return dict(zip(tracks.detections.extra["SPOT_ID"].tolist(), tracks.track.tolist(), strict=True))


def test_splits_are_parents_and_every_spot_is_kept(session: Path):
    """DREEM's converter keeps one spot of a track in a frame, and none without a track (D16)."""
    tracks = io.load(session)
    track = _by_id(tracks)
    assert track[1] == track[2] == 3 and tracks.name(3) == "Mother & daughters"
    assert track[3] != track[4] and dict(tracks.parent.tolist()) == {track[3]: 3, track[4]: 3}
    assert track[10] == -1
    assert tracks.detections.frame.tolist() == [2, 2, 2, 3, 3, 3, 5, 5, 5, 5]  # as numbered; none is moved to 0


def test_where_tracks_merge_the_nearest_goes_on_and_it_is_said(session: Path, caplog):
    with caplog.at_level(logging.WARNING, "kintrack"):
        track = _by_id(io.load(session))
    assert track[5] == track[7] == 4 and track[6] not in (4, -1)
    said = " ".join(caplog.messages)
    assert "tracks merge at 1 spots (first in frame 5), which cannot be told here: the nearest goes on" in said


def test_what_is_filtered_out_in_trackmate_is_not_taken_and_it_is_said(session: Path, caplog):
    with caplog.at_level(logging.WARNING, "kintrack"):
        tracks = io.load(session)
    assert 11 not in _by_id(tracks) and _by_id(tracks)[8] == _by_id(tracks)[9] == -1
    said = " ".join(caplog.messages)
    assert "1 spots are filtered out" in said and "1 tracks are filtered out in TrackMate: their spots are un" in said


def test_microns_become_pixels_whose_middles_are_at_halves(session: Path):
    """DREEM takes microns for pixels (D16)."""
    found = io.load(session).detections
    row = found.extra["SPOT_ID"].tolist().index(1)
    assert found.box[row].tolist() == [10 / 0.5 + 0.5 - 2, 5 / 0.25 + 0.5 - 4, 10 / 0.5 + 0.5 + 2, 5 / 0.25 + 0.5 + 4]
    assert found.score[row] == 4.5 and found.extra["MEAN_INTENSITY_CH1"][row] == 7.25
    assert found.video == VideoInfo("/data/cells.tif", 9, (48, 64), 0.5)


def test_an_outline_is_the_box_and_its_area(session: Path):
    found = io.load(session).detections
    row = found.extra["SPOT_ID"].tolist().index(7)
    assert found.box[row].tolist() == [41.5 - 2, 8.5 - 2, 41.5 + 2, 8.5 + 2]
    assert found.area[row] == 16 and np.isnan(np.delete(found.area, row)).all()


def test_a_tracker_is_given_no_tracks(session: Path):
    assert (io.load(session, identities=False).track == -1).all()


def test_a_volume_has_boxes_in_three_dimensions(tmp_path: Path):
    spot = '<Spot ID="{}" POSITION_X="1" POSITION_Y="2" POSITION_Z="{}" RADIUS="1" />'
    spots = "".join(spot.format(i, 2.0 * i) for i in range(2))
    text = f'{HEAD}<TrackMate><Model><AllSpots><SpotsInFrame frame="4">{spots}</SpotsInFrame></AllSpots></Model>{IMAGE}'
    found = io.load(_written(tmp_path / "a.xml", f"{text}</TrackMate>")).detections
    assert found.ndim == 3 and found.frame.tolist() == [4, 4]
    assert found.box[1].tolist() == [0.5, 4.5, 1.0, 4.5, 12.5, 2.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><TrackMate>&b;</TrackMate>', "declares a document type"),
        ("<TrackMate><Model>", "is no whole XML .*save it again in TrackMate"),
        ("<Tracks />", "is XML, but has no <TrackMate>"),
        (SESSION.replace('POSITION_X="11.0"', 'POSITION_X="eleven"'), "POSITION_X of spot 2 is 'eleven'; wanted a n"),
        (SESSION.replace('POSITION_X="11.0"', ""), "spot 2 has no POSITION_X"),
        (SESSION.replace('FRAME="3"', 'FRAME="2.5"', 1), r"FRAME of spot 2 is 2\.5; wanted 0, 1, 2"),
        (SESSION.replace('SPOT_TARGET_ID="4"', 'SPOT_TARGET_ID="99"'), "an edge names spot '99', which is not there"),
        (SESSION.replace('SPOT_TARGET_ID="4"', 'SPOT_TARGET_ID="8"'), "spots 2 and 8 are linked, but both are in fra"),
        (SESSION.replace('TRACK_ID="3">', 'TRACK_ID="three">'), "TRACK_ID is 'three'; wanted a whole number"),
        (SESSION.replace('ROI_N_POINTS="4"', 'ROI_N_POINTS="3"'), "the outline of spot 7 is not as long as ROI_"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(text: str, words: str, tmp_path: Path):
    with pytest.raises(FormatError, match=words):
        io.load(_written(tmp_path / "a.xml", text))


def test_a_file_that_would_expand_without_end_is_refused_at_once(tmp_path: Path):
    """DREEM's reader of XML expands entities (S4)."""
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 30))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{bomb}]><TrackMate>&a29;</TrackMate>'
    with pytest.raises(FormatError, match="was refused"):
        io.load(_written(tmp_path / "a.xml", text))


# --------------------------------------------------------------------------------------------------------------- tables


def test_a_table_of_spots_is_known_by_its_header(tmp_path: Path):
    """DREEM deletes three lines whatever is in them, and counts from 0 only if nothing is in frame 0 (D16)."""
    tracks = io.load(_written(tmp_path / "x_spots.csv", TABLE.format(unit="pixel")))
    assert len(tracks) == 4 and _by_id(tracks) == {4: 0, 7: 0, 5: -1, 6: -1}  # 6 is alone in its track
    assert tracks.detections.frame.tolist() == [1, 1, 2, 3]
    assert tracks.detections.box[0].tolist() == [1.0, 4.0, 2.0, 5.0]
    assert tracks.detections.score.tolist() == [1.5] * 4


def test_a_table_without_the_lines_below_its_header_loses_none(tmp_path: Path):
    lines = TABLE.splitlines(keepends=True)
    assert len(io.load(_written(tmp_path / "old.csv", lines[0] + "".join(lines[4:])))) == 4


def test_microns_of_a_table_are_warned_of_or_converted(tmp_path: Path, caplog):
    path = _written(tmp_path / "x_spots.csv", TABLE.format(unit="micron"))
    with caplog.at_level(logging.WARNING, "kintrack"):
        plain = io.load(path).detections
    assert plain.box[0].tolist() == [0.5, 3.5, 1.5, 4.5]
    assert "positions are in micron, and a table does not say how large a pixel is" in " ".join(caplog.messages)
    api.convert(path, tmp_path / "px.csv", pixel_size=0.25)
    assert io.load(tmp_path / "px.csv").detections.box[0].tolist() == [2.5, 14.5, 6.5, 18.5]


def test_edges_beside_a_table_say_how_its_tracks_split(tmp_path: Path):
    path = _written(tmp_path / "x_spots.csv", TABLE.format(unit="pixel") + SPLIT)
    words = r"track 0 has several spots in frame 3, so it splits .* beside it as x_edges\.csv"
    with pytest.raises(FormatError, match=words):
        io.load(path)
    assert len(io.load(path, identities=False)) == 5
    _written(tmp_path / "x_edges.csv", EDGES)
    tracks = io.load(path)
    track = _by_id(tracks)
    assert track[4] == 0 and dict(tracks.parent.tolist()) == {track[7]: 0, track[8]: 0}


def test_a_pixel_size_is_for_tables_alone(session: Path, tmp_path: Path):
    with pytest.raises(InputError, match="the XML says itself how large a pixel is; leave it out"):
        io.load(session, pixel_size=0.5)
    with pytest.raises(InputError, match="wanted a length above 0"):
        io.load(_written(tmp_path / "x_spots.csv", TABLE.format(unit="micron")), pixel_size=0)
    io.save(crossing(), tmp_path / "a.csv")
    with pytest.raises(InputError, match="which is CSV table, where all is in pixels; leave --pixel-size"):
        io.load(tmp_path / "a.csv", pixel_size=0.5)
    with pytest.raises(FormatError, match="lacks columns of a table of spots"):
        io.load(tmp_path / "a.csv", "trackmate")


def test_tracking_a_table_gives_a_table(tmp_path: Path):
    api.track(_written(tmp_path / "x_spots.csv", TABLE.format(unit="pixel")), tmp_path / "out.csv", model="motion")
    assert len(io.load(tmp_path / "out.csv")) == 4


# -------------------------------------------------------------------------------------------------------------- writing


def test_tracking_a_file_of_trackmate_and_writing_one(session: Path, tmp_path: Path):
    tracks = api.track(session, tmp_path / "out.xml", model="motion")
    read = io.load(tmp_path / "out.xml")
    lone = np.isin(tracks.track, [t for t in tracks.ids if (tracks.track == t).sum() == 1])
    assert same_tracks(read.track, np.where(lone, -1, tracks.track))


def test_divisions_come_back(tmp_path: Path):
    written = division()
    io.save(written, tmp_path / "a.xml")
    read = io.load(tmp_path / "a.xml")
    assert np.array_equal(read.track, written.track) and sorted(read.parent.tolist()) == sorted(written.parent.tolist())


def test_what_cannot_be_held_is_said(tmp_path: Path, caplog):
    box = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [np.nan] * 4])
    with caplog.at_level(logging.WARNING, "kintrack"):
        io.save(Tracks(Detections([0, 1, 2], box), [0, 1, -1]), tmp_path / "a.xml")
    said = " ".join(caplog.messages)
    assert "cannot hold 1 rows without a place" in said and "2 tracks of a single row" in said
    assert (io.load(tmp_path / "a.xml").track == -1).all() and len(io.load(tmp_path / "a.xml")) == 2


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), ndim=st.sampled_from([2, 3]))
def test_boxes_points_scores_and_tracks_come_back(seed: int, ndim: int, tmp_path: Path):
    rng = np.random.default_rng(seed)
    n_frames, n_tracks = int(rng.integers(2, 9)), int(rng.integers(1, 6))
    frame, track = (side.ravel() for side in np.meshgrid(np.arange(n_frames), np.arange(n_tracks), indexing="ij"))
    there = (rng.random(len(frame)) < 0.8) | np.isin(frame, [0, n_frames - 1])
    frame, track = frame[there], track[there]
    side = rng.exponential(5, (len(frame), 1 if ndim == 3 else 2)) * (rng.random((len(frame), 1)) < 0.8)
    box = boxes.from_centre(rng.normal(50, 20, (len(frame), ndim)), np.broadcast_to(side, (len(frame), ndim)))
    info = VideoInfo("/there/a <b>.tif", n_frames, (200, 300))
    written = Tracks(Detections(frame, box, score=rng.random(len(frame)), video=info), track * 3, names={0: 'A "1"'})
    io.save(written, tmp_path / "a.xml", overwrite=True)
    read = io.load(tmp_path / "a.xml")
    assert np.array_equal(read.track, written.track) and read.names == written.names
    assert np.allclose(read.detections.box, box, atol=1e-9)
    assert np.array_equal(read.detections.score, written.detections.score) and read.detections.video == info
