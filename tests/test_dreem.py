"""Models of DREEM, from the file to the tracks: what a person does who comes from there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from kintrack import api, io
from kintrack.checkpoints import convert_checkpoint
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.core.video import ArrayVideo
from kintrack.errors import CheckpointError, ConfigError, InputError, OutputExistsError
from kintrack.follow import TrackConfig, follow
from kintrack.loading import load_model
from kintrack.models.checkpoint import read_card
from kintrack.tracking.motion import Motion
from worlds import crossing, painted

CHECKPOINT = Path(__file__).parent / "golden" / "dreem" / "descriptor.ckpt"
OLDER = CHECKPOINT.with_name("omegaconf.ckpt")
CROPS = {"dreem": {"crop_size": 24}}


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, Tracks]:
    """A file of detections with its movie beside it, and who is who."""
    truth = crossing()
    images = np.repeat(painted(truth.detections)[..., None], 3, axis=3)
    io.write_video(tmp_path / "clip.mp4", list((images > 0).astype(np.uint8) * 200), 10.0)
    io.save(Tracks.untracked(truth.detections), tmp_path / "clip.csv")
    return tmp_path / "clip.csv", truth


def test_a_checkpoint_of_dreem_tracks_a_file_with_its_video(clip, tmp_path):
    path, truth = clip
    tracks = api.track(path, tmp_path / "out.csv", model=CHECKPOINT, config=CROPS)
    assert len(tracks) == len(truth) and (tracks.track >= 0).all()
    known = tracks.confidence[~np.isnan(tracks.confidence)]
    assert len(known) and ((known > 0) & (known <= 1)).all()
    said = yaml.safe_load((tmp_path / "out.csv.kintrack.yaml").read_text())
    assert said["tracker"]["kind"] == "dreem" and said["dreem"]["crop_size"] == 24
    assert said["made"]["model"] == "descriptor"


def test_the_first_frame_need_not_be_number_0(clip):
    """DREEM fails after all is tracked (D3), or goes on with the tracks of another video (T1)."""
    path, _ = clip
    detections, video = io.load(path).detections, io.load_video(path.with_suffix(".mp4"))
    later = detections.take(detections.frame >= 5)
    again = api.track(later, model=load_model(CHECKPOINT), video=video, config=CROPS)
    assert (again.track >= 0).all() and again.track[0] == 0


def test_no_frame_is_dropped_whatever_the_length(clip):
    """DREEM drops the last one to five frames of a video (D1)."""
    path, _ = clip
    detections, video = io.load(path).detections, io.load_video(path.with_suffix(".mp4"))
    whole = api.track(detections, model=load_model(CHECKPOINT), video=video, config=CROPS)
    for n in (1, 2, 7, detections.n_frames - 1):
        part = api.track(
            detections.take(detections.rows(0, n)), model=load_model(CHECKPOINT), video=video, config=CROPS
        )
        assert np.array_equal(part.track, whole.track[: len(part)])


def test_what_a_detection_looks_like_does_not_depend_on_the_others(clip):
    """With one detection in a frame, DREEM overwrites what it remembers of another (A1)."""
    from kintrack.config_dreem import DreemCrops
    from kintrack.core.sightings import Sightings
    from kintrack.windows.dreem import DreemScorer, anchors, iter_dreem_crops, squares

    path, _ = clip
    detections, video = io.load(path).detections, io.load_video(path.with_suffix(".mp4"))
    scorer, config = DreemScorer(load_model(CHECKPOINT), video.shape[1:3]), DreemCrops(crop_size=24)

    def tokens(some: Detections) -> np.ndarray:
        box = squares(anchors(some, config), config)
        return scorer.embed(Sightings.of(some), iter_dreem_crops(video, some, box, config)).token

    whole = tokens(detections)
    for row in (0, 3, len(detections) - 1):
        assert np.allclose(tokens(detections.take([row])), whole[row], rtol=1e-5)


def test_what_is_missing_is_said(clip, tmp_path):
    path, truth = clip
    with pytest.raises(ConfigError, match=r"do not say how large .* --set dreem\.crop_size=64"):
        api.track(path, model=CHECKPOINT)
    with pytest.raises(ConfigError, match=r"goes with DREEM's tracker alone; give --set tracker\.kind=dreem"):
        api.track(path, model=CHECKPOINT, config={**CROPS, "tracker": "kintrack"})
    with pytest.raises(InputError, match="looks at pixels, but no video was given"):
        follow(truth.detections, load_model(CHECKPOINT), config=TrackConfig.of({**CROPS, "tracker": "dreem"}))


@pytest.mark.parametrize("tracker", ["dreem", {"kind": "dreem"}, {"window_size": 3}, {"mult_thresh": False}])
def test_dreems_tracker_goes_with_other_models_too(tracker):
    truth = crossing()
    tracks = api.track(truth.detections, model=Motion(), config={"tracker": tracker})
    assert same_tracks(tracks.track, truth.track)


def test_its_options_go_before_those_of_a_card(clip):
    path, _ = clip
    tracks = api.track(path, model=CHECKPOINT, max_tracks=1, config=CROPS)
    assert set(tracks.track) <= {-1, 0}


@pytest.mark.parametrize(
    ("tracker", "words"),
    [
        ({"kind": "dreem", "iou": "add"}, "tracker: option 'iou' is 'add': input should be 'mult' or 'max'"),
        ({"kind": "dreem", "window": 3}, "tracker: unknown option 'window': did you mean 'window_size'"),
        ({"kind": "drem"}, "tracker: there is no tracker 'drem': did you mean 'dreem'"),
        ({"max_gapp": 3}, "unknown option 'tracker.max_gapp': did you mean 'max_gap'"),
    ],
)  # fmt: skip
def test_options_that_are_not_known_are_named(tracker, words):
    """DREEM swallows them (F-102), or fails at the second frame."""
    with pytest.raises(ConfigError, match=words):
        TrackConfig.of({"tracker": tracker})


def test_a_relative_path_is_a_file_and_nothing_is_downloaded(clip, tmp_path, monkeypatch):
    """DREEM takes `models/m.ckpt` for somebody's repository (C4)."""
    path, _ = clip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    shutil.copy(CHECKPOINT, tmp_path / "models" / "m.ckpt")
    assert len(api.track(path, model="models/m.ckpt", config=CROPS))
    with pytest.raises(CheckpointError, match=r"there is no model 'models/n\.ckpt', by name or as a file"):
        api.track(path, model="models/n.ckpt", config=CROPS)


def test_a_converted_checkpoint_knows_its_crops(clip, tmp_path):
    path, _ = clip
    done = convert_checkpoint(OLDER, tmp_path / "m.safetensors", crop_size=24, padding=5)
    assert "omegaconf.dictconfig.DictConfig" in done.left_behind and done.numbers == 4712
    card = read_card(done.path)
    assert card["crops"] == {"crop_size": 24, "padding": 5} and len(card["source_sha256"]) == 64
    told = api.track(path, model=CHECKPOINT, config={"dreem": {"crop_size": 24, "padding": 5}})
    assert np.array_equal(api.track(path, model=done.path).track, told.track)


def test_converting_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.ckpt; a model is written as \.safetensors"):
        convert_checkpoint(OLDER, tmp_path / "m.ckpt")
    (tmp_path / "m.safetensors").touch()
    with pytest.raises(OutputExistsError, match="exists; choose another name"):
        convert_checkpoint(OLDER, tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match="'crop_size' is 0"):
        convert_checkpoint(OLDER, tmp_path / "n.safetensors", crop_size=0)
    assert not (tmp_path / "n.safetensors").exists()


def test_the_command_line_says_what_it_left_behind(tmp_path, monkeypatch, capsys):
    import sys

    from kintrack import cli

    arguments = ["convert-checkpoint", str(OLDER), "-o", str(tmp_path / "m.safetensors")]
    monkeypatch.setattr(sys, "argv", ["kintrack", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    out = capsys.readouterr().out
    assert leaving.value.code == 0
    assert "a model of DREEM (descriptor, 1 + 1 layers of 16), 4,712 numbers" in out
    assert "not made, and left behind: collections.defaultdict, omegaconf.base" in out


@pytest.mark.slow
def test_masks_and_poses_of_real_videos_are_tracked(shared_data, tmp_path):
    cells = api.track(shared_data / "cells" / "sim_nuclei_10", tmp_path / "cells", model=CHECKPOINT, config=CROPS)
    larger = {"dreem": {"crop_size": 70}}
    flies = api.track(shared_data / "flies" / "three_flies.slp", tmp_path / "f.slp", model=CHECKPOINT, config=larger)
    assert (cells.track >= 0).all() and (tmp_path / "cells" / "res_track.txt").is_file()
    assert (flies.track >= 0).all() and len(io.load(tmp_path / "f.slp")) == 384


def test_pixels_in_memory_do_as_well_as_a_file():
    truth = crossing()
    images = np.stack([painted(truth.detections)] * 3, axis=-1)
    video = ArrayVideo((images > 0).astype(np.uint8) * 200)
    tracks = api.track(truth.detections, model=load_model(CHECKPOINT), video=video, config=CROPS)
    assert len(tracks) == len(truth)


def posed(n_frames=6):
    """Two of head and tail that pass each other, each with a brightness of its own; one head is missed twice."""
    from kintrack.core.detections import Skeleton

    frame, who = np.repeat(np.arange(n_frames), 2), np.tile([0, 1], n_frames)
    at = np.stack([20.0 + 6 * np.where(who, n_frames - frame, frame), 20.0 + 20 * who], axis=1)
    pose = at[:, None] + np.array([[4.0, 0], [-4, 1]])
    pose[[4, 7], 0] = np.nan
    images = np.full((n_frames, 60, 90, 3), 10, np.uint8)
    for t, i, (x, y) in zip(frame, who, at.astype(int), strict=True):
        images[t, y - 4 : y + 4, x - 8 : x + 8] = (90, 200)[i]
    box = np.concatenate([at - [8, 4], at + [8, 4]], axis=1)
    return Tracks(Detections(frame, box, keypoints=pose, skeleton=Skeleton(("head", "tail"))), who), ArrayVideo(images)


def two_anchored_model(n_anchors=2):
    import torch

    from kintrack.models.dreem import DreemTransformer

    torch.manual_seed(0)
    config = {"d_model": 16, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    pos = {"mode": "learned", "n_points": n_anchors}
    return DreemTransformer({**config, "pos": pos, "encoder": {"in_chans": 3 * n_anchors}}).eval()


@pytest.mark.parametrize(
    ("how", "iou"), [("centroid", "mult"), ("ignore", "mult"), ("ignore", "max"), ("drop", "mult")]
)
def test_a_model_of_several_anchors_tracks(how, iou, caplog):
    """DREEM fails at the second frame (T12), and with `max` where an anchor is not seen (T13)."""
    truth, video = posed()
    config = {
        "tracker": {"kind": "dreem", "iou": iou, "max_center_dist": 30, "overlap_thresh": 0.0},
        "dreem": {"anchors": ["head", "tail"], "crop_size": 16, "handle_missing": how},
    }
    tracks = follow(truth.detections, two_anchored_model(), video, TrackConfig.of(config))
    lost = np.isnan(truth.detections.keypoints).any(axis=(1, 2)) & (how == "drop")
    assert ((tracks.track < 0) == lost).all()
    if how != "drop" and iou == "mult":  # else whom a model without training finds again is chance
        assert same_tracks(tracks.track, truth.track)
    said = "2 of 12 detections are not tracked and stay in the result without a track: 2 lack head or tail"
    assert (said in caplog.text) == (how == "drop")


def test_anchors_that_a_model_was_not_made_for_are_refused():
    truth, video = posed()
    config = TrackConfig.of({"tracker": "dreem", **CROPS})
    words = r"this model of DREEM was made for 2 anchors of a detection, and dreem\.anchors names 1 \(centroid\)"
    with pytest.raises(ConfigError, match=words):
        follow(truth.detections, two_anchored_model(), video, config)
    two = TrackConfig.of({"tracker": "dreem", "dreem": {"anchors": ["head", "tail"], "crop_size": 24}})
    with pytest.raises(ConfigError, match=r"made for 1 anchors of a detection, and dreem\.anchors names 2"):
        follow(truth.detections, two_anchored_model(1), video, two)


def test_what_several_crops_show_reaches_the_model():
    """Each anchor's box and pixels: another place of the second anchor alone is another answer."""
    from kintrack.config_dreem import DreemCrops
    from kintrack.core.sightings import Sightings
    from kintrack.windows.dreem import DreemScorer, boxes_shown, boxes_tracked, iter_dreem_crops

    truth, video = posed()
    model, seen = two_anchored_model(), truth.detections
    scorer = DreemScorer(model, video.shape[1:3])

    def tokens(anchors):
        config = DreemCrops(anchors=anchors, crop_size=16)
        box = boxes_shown(seen, config)
        rows = Sightings.of(seen.with_columns(box=boxes_tracked(seen, config, box)))
        return scorer.embed(rows, iter_dreem_crops(video, seen, box, config), box).token, box

    (one, box), (other, moved) = tokens(("head", "tail")), tokens(("head", "centroid"))
    dim = model.visual_encoder.dim
    assert one.shape == (12, dim + 8)
    assert np.allclose(one[:, dim:], box.reshape(12, 8)) and not np.allclose(box[:, 1], moved[:, 1])
    assert np.array_equal(box[:, 0], moved[:, 0]) and not np.allclose(one[:, :dim], other[:, :dim])
