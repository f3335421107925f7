"""From clips to windows."""

import numpy as np
import pytest
import torch

from kintrack.config import PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core.clip import Clip, Frame, Instance
from kintrack.core.detections import Detections
from kintrack.errors import InputError
from kintrack.models import GlobalTrackingTransformer
from kintrack.training.batches import Batch, as_clips, naming, questions, relation, tracked

SEEING = ModelConfig.of({"dim": 16, "heads": 2, "encoder": {"kind": "conv", "width": 4, "crop_size": 16}})
BLIND = ModelConfig.of({"dim": 16, "heads": 2})
APPEARANCE = [PAIR_FEATURES.index("appearance"), PAIR_FEATURES.index("has_appearance")]


def same_window(a, b) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("pairs", "pair", "row_group", "target"))


def test_a_single_clip_is_a_batch_of_one(make_clip):
    clip = make_clip(1)
    assert as_clips(clip) == [clip] and as_clips(list(clip)) == [clip] and as_clips([clip, clip]) == [clip, clip]


@pytest.mark.parametrize(
    ("batch", "words"), [(3, "a batch is a list of clips; this one is a int"), ([3], "one in the batch is a int")]
)
def test_what_is_no_batch_is_refused_in_words(batch, words):
    with pytest.raises(InputError, match=words):
        as_clips(batch)


def test_the_memory_is_kept_by_the_history_and_the_truth_is_the_answer(make_clip):
    """Where the history broke a track, the link across the break is still true."""
    clip = make_clip(0)
    broken = clip.identity.copy()
    broken[clip.detections.frame >= 4] += 100
    asked = questions([clip.with_columns(history=broken)], BLIND, TrackerConfig())
    across = (asked.frame[asked.pairs[:, 0]] == 4) & asked.target
    assert across.sum() >= len(set(clip.identity.tolist()))


def test_detections_without_a_place_ask_nothing(make_clip):
    clip = make_clip(0)
    box = clip.detections.box.copy()
    box[::5] = np.nan
    keep = ~np.isnan(box).any(axis=1)
    holes = clip.with_columns(detections=Detections(clip.detections.frame, box))
    without = Clip(Detections(clip.detections.frame[keep], box[keep]), clip.identity[keep])
    asked = questions([holes], BLIND, TrackerConfig())
    assert same_window(asked, questions([without], BLIND, TrackerConfig()))
    assert torch.isfinite(asked.pair).all() and torch.isfinite(asked.graph.node).all()


def test_crops_are_used_only_by_a_model_that_sees(make_clip):
    shown = make_clip(1, crop_size=16)
    assert questions([shown], SEEING, TrackerConfig()).crops.shape[1:] == (1, 16, 16)
    assert questions([shown], BLIND, TrackerConfig()).crops is None


def test_clips_with_crops_and_clips_without_go_into_one_batch_and_change_nothing_in_each_other(make_clip):
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(SEEING)
    clips = [make_clip(2), make_clip(1, crop_size=16), make_clip(0)]
    mixed = questions(clips, SEEING, TrackerConfig())
    assert len(mixed.crops) == len(mixed.shown) == len(clips[1].detections)
    alone = [model.logits(questions([clip], SEEING, TrackerConfig())) for clip in clips]
    assert torch.allclose(model.logits(mixed), torch.cat(alone, dim=2), atol=1e-5)


def test_a_window_without_its_crops_is_that_of_someone_who_cannot_see(make_clip):
    asked = questions([make_clip(1, crop_size=16)], SEEING, TrackerConfig())
    assert not asked.pair[:, APPEARANCE].any()  # only the model can tell who looks like whom
    assert same_window(asked.without_crops(), questions([make_clip(1)], BLIND, TrackerConfig()))


def test_appearance_changes_what_a_model_answers(make_clip):
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(SEEING)
    asked = questions([make_clip(1, crop_size=16)], SEEING, TrackerConfig())
    assert not torch.allclose(model.logits(asked), model.logits(asked.without_crops()))


def test_a_prepared_batch_holds_the_same_window(make_clip):
    clips = [make_clip(1), Clip.untracked(Detections.empty()), make_clip(2)]
    batch = Batch.prepare(clips, BLIND, TrackerConfig())
    assert list(batch) == clips and same_window(batch.window, questions([clips[0], clips[2]], BLIND, TrackerConfig()))
    assert Batch.prepare([clips[1]], BLIND, TrackerConfig()).window is None


def test_the_innermost_place_is_named_once(make_clip):
    a, b = make_clip(1, video="a"), make_clip(2, video="b")
    with pytest.raises(KeyError) as caught, naming([a, b]), naming([b]):
        raise KeyError("x")
    assert caught.value.__notes__ == ["This happened in frames 0 to 7 of video 'b'"]


def test_rows_of_the_relation_are_in_the_order_given():
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(BLIND)
    given = [Instance([30 * i, 5 * t, 30 * i + 8, 5 * t + 8], frame_id=t) for t in range(3) for i in range(4)]
    mixed = np.random.default_rng(0).permutation(len(given))
    straight = model(relation(given, None, BLIND))[-1].matrix
    shuffled = model(relation([given[i] for i in mixed], None, BLIND))[-1].matrix
    torch.testing.assert_close(shuffled, straight[mixed][:, mixed])


def test_a_query_that_is_among_the_references_is_one_detection_with_it(make_clip):
    clip = make_clip(0)
    asked = relation(clip, clip[2:3], BLIND)
    assert len(asked.graph.node) == len(clip.detections) and len(asked.query) == len(clip[2])
    own = asked.query[:, None] == asked.reference[None, :]
    assert own.sum() == len(clip[2])


@pytest.mark.parametrize("kind", ["instances", "frames", "clip", "table"])
def test_detections_of_any_kind_can_be_related(make_clip, kind):
    clip = make_clip(0)
    given = {
        "instances": [i for f in clip for i in f.instances],
        "frames": list(clip),
        "clip": clip,
        "table": clip.detections,
    }[kind]
    asked = relation(given, None, BLIND)
    n, frame = len(clip.detections), clip.detections.frame
    assert len(asked.query) == len(asked.reference) == n and asked.target is None
    assert len(asked.pairs) == (frame[:, None] != frame).sum() + n  # all of other frames, and everybody itself


def test_crops_are_related_too(make_clip):
    clip = make_clip(1, crop_size=16)
    asked = relation(clip[:2], clip[2:3], SEEING)
    assert asked.crops.shape[0] == len(clip[0]) + len(clip[1]) + len(clip[2])


def test_nothing_is_related_to_nothing():
    assert len(relation([], None, BLIND).pairs) == 0
    assert len(relation([Frame(0)], [Instance([0, 0, 1, 1])], BLIND).pairs) == 0


def test_tracking_leaves_the_model_in_its_mode(make_clip):
    from kintrack.tracking import Tracker

    model = GlobalTrackingTransformer({"dim": 16, "heads": 2, "dropout": 0.5})
    clip = make_clip(1)
    first, again = (tracked(model.train(), Tracker(), clip).predicted for _ in range(2))
    assert model.training and first.tolist() == again.tolist()  # dropout took no part
