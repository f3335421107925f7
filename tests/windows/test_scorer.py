"""A model as a tracker sees it."""

import numpy as np
import pytest
import torch

from kintrack.config import PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings, candidates
from kintrack.models import GlobalTrackingTransformer
from kintrack.sim import simulate
from kintrack.tracking import Tracker
from kintrack.windows.scorer import Scorer, _Answer, _whole_frames
from kintrack.windows.window import follow


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, encoder={"kind": "conv", "dim": 8})).eval()


@pytest.fixture
def detections():
    centre = np.array([[0, 0], [20, 0], [1, 0], [21, 0], [2, 0], [22, 0]], float)
    return Detections(frame=[0, 0, 1, 1, 2, 2], box=np.concatenate([centre - 5, centre + 5], axis=1))


def crops(n, seed=0):
    return np.random.default_rng(seed).random((n, 1, 64, 64), np.float32)


def remembered(seen, identity, stop, depth):
    """The memory before the frame that begins at row `stop`."""
    memory = Memory.like(seen)
    for start in range(0, stop, 2):
        memory = memory.remember(seen.take(slice(start, start + 2)), identity[start : start + 2], depth)
    return memory


@pytest.mark.parametrize("compare", ["track", "sightings"])
@pytest.mark.parametrize("history_layers", [0, 2])
def test_the_tracker_is_given_the_numbers_that_the_model_was_trained_on(detections, compare, history_layers):
    """Two ways lead to a pair's logit: through a training window, and frame by frame through a memory."""
    torch.manual_seed(0)
    config = ModelConfig(dim=16, heads=2, history_layers=history_layers, encoder={"kind": "conv", "dim": 8})
    model = GlobalTrackingTransformer(config).eval()
    pixels, identity = crops(6), np.array([0, 1] * 3)
    seen = Sightings.of(detections)
    tracker = TrackerConfig(compare=compare)
    window = follow(seen, identity, config, tracker, crops=pixels)
    expected = model.logits(window)[-1].mean(dim=0).detach().numpy()
    scorer = Scorer(model)
    seen = scorer.embed(seen, [(np.arange(3), pixels[:3]), (np.arange(3, 6), pixels[3:])])
    found = []
    for start in (2, 4):  # the second frame, in which no track has a history yet, and the third
        query, memory = seen.take(slice(start, start + 2)), remembered(seen, identity, start, tracker.memory)
        pairs = candidates(query, memory, 8, tracker.gate, tracker.gate_gap, compare == "sightings")
        found.append(scorer(query, memory, pairs))
    assert [len(part) for part in found] == ([4, 4] if compare == "track" else [4, 8])
    assert np.concatenate(found) == pytest.approx(expected, abs=1e-5)


def test_a_tracks_token_is_changed_by_what_it_remembers_and_by_no_other_track(detections):
    """A track of one sighting is the same whether the others of the memory have been seen before or not, for a model
    that is told nothing of the scene as a whole."""
    names = tuple(name for name in PAIR_FEATURES if "scene" not in name and name != "residual_common")
    model = GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, history_layers=1, pair_features=names)).eval()
    seen = Scorer(model).embed(Sightings.of(detections))
    identity = np.array([0, 1, 0, 1, 0, 2])  # the last of them is new
    query = seen.take([4, 5]).with_columns(frame=np.array([3, 3]))
    scores = {}
    for name, ids in {"as it was": identity, "another without a past": np.array([3, 1, 3, 1, 0, 2])}.items():
        memory = remembered(seen, ids, 6, depth=8)
        row = {int(t): int(r) for t, r in zip(memory.track[memory.last], memory.last, strict=True)}
        scores[name] = {t: Scorer(model)(query, memory, np.array([[0, row[t]]]))[0] for t in (0, 2)}
    one, other = scores.values()
    assert one[2] == pytest.approx(other[2], abs=1e-6)
    assert one[0] != pytest.approx(other[0], abs=1e-4)


@pytest.mark.parametrize("cuts", [[1], [3, 4, 9], list(range(1, 12))])
def test_a_tracks_token_does_not_depend_on_how_a_video_is_cut_into_chunks(model, cuts):
    rng = np.random.default_rng(0)
    centre = np.cumsum(rng.normal(0, 3, (12, 3, 2)), axis=0) + np.array([[0, 0], [25, 0], [0, 25]])
    box = np.concatenate([centre - 5, centre + 5], axis=2).reshape(-1, 4)
    whole = Detections(frame=np.repeat(np.arange(12), 3), box=box)

    class Listening(Scorer):
        def __init__(self, model):
            super().__init__(model)
            self.heard = []

        def __call__(self, query, memory, pairs):
            self.heard.append(super().__call__(query, memory, pairs))
            return self.heard[-1]

    def scores(bounds):
        scorer, tracker = Listening(model), Tracker(persistent_tracking=True)
        for start, stop in zip([0, *bounds], [*bounds, 12], strict=True):
            part = whole.take(whole.rows(start, stop))
            tracker(scorer, part, scorer.embed(Sightings.of(part)))
        return np.concatenate(scorer.heard)

    assert scores(cuts) == pytest.approx(scores([]), abs=1e-5)


def test_appearance_reaches_the_pairs_and_may_be_left_out(model, detections):
    seen = Sightings.of(detections)
    scorer = Scorer(model)
    looking = scorer.embed(seen, [(np.arange(6), crops(6))])
    assert np.linalg.norm(looking.appearance, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    blind = scorer.embed(seen)
    assert blind.appearance is None and blind.token.shape == looking.token.shape
    assert not np.allclose(blind.token, looking.token)
    window = follow(seen, np.array([0, 1] * 3), model.config, TrackerConfig())
    assert (window.pair[:, PAIR_FEATURES.index("has_appearance")] == 0).all()


def test_the_order_of_the_batches_of_crops_does_not_matter(model, detections):
    pixels, scorer, seen = crops(6), Scorer(model), Sightings.of(detections)
    one = scorer.embed(seen, [(np.arange(6), pixels)])
    other = scorer.embed(seen, [(np.array([5, 3]), pixels[[5, 3]]), (np.array([0, 1, 2, 4]), pixels[[0, 1, 2, 4]])])
    assert np.allclose(one.token, other.token, atol=1e-5)


def test_long_videos_are_encoded_in_batches_of_whole_frames(model, detections, monkeypatch):
    seen, pixels = Sightings.of(detections), crops(6)
    whole = Scorer(model).embed(seen, [(np.arange(6), pixels)])
    monkeypatch.setattr("kintrack.windows.scorer.BATCH", 3)
    parts = Scorer(model).embed(seen, [(np.arange(6), pixels)])
    assert np.allclose(whole.token, parts.token, atol=1e-6)
    assert [(s.start, s.stop) for s in _whole_frames(detections.frame)] == [(0, 4), (4, 6)]
    assert len(Scorer(model).embed(seen.take(slice(0, 0))).token) == 0


def seen_and_followed(model, detections, patience=10**9):
    """Tracks, confidences, and the scorer that was asked."""
    scorer = Scorer(model, patience)
    found = Tracker({"threshold": 0.1})(scorer, detections, scorer.embed(Sightings.of(detections)))
    return found.track.tolist(), found.confidence.tolist(), scorer


@pytest.fixture
def comers_and_goers():
    """40 frames in which up to five are seen, the first ones without any past."""
    world = {"n_individuals": 5, "n_frames": 40, "border": "open", "arena": (200, 200), "size": 20.0, "speed": 0.3}
    seen = simulate(world, seed=1).detections
    few = np.random.default_rng(0).random(len(seen)) < 0.6
    return seen.take(few)


@pytest.mark.parametrize("patience", [1, 2, 20])
def test_a_compiled_model_says_the_same_to_the_last_bit_whatever_it_is_asked(comers_and_goers, patience):
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, history_layers=1)).eval()
    tracks, confidence, asked = seen_and_followed(model, comers_and_goers)
    assert isinstance(asked._answer, _Answer) and len(set(tracks)) < 10  # so tracks look back at what they remember
    again = seen_and_followed(model, comers_and_goers, patience)
    assert isinstance(again[2]._answer, torch.jit.ScriptModule)
    assert again[0] == tracks and np.array_equal(again[1], confidence, equal_nan=True)


def test_a_model_goes_on_as_it_is_where_it_cannot_be_compiled(comers_and_goers, monkeypatch):
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, history_layers=1)).eval()
    tracks, confidence, _ = seen_and_followed(model, comers_and_goers)
    monkeypatch.delattr(torch.jit, "trace")
    again = seen_and_followed(model, comers_and_goers, patience=2)
    assert isinstance(again[2]._answer, _Answer)
    assert again[0] == tracks and np.array_equal(again[1], confidence, equal_nan=True)


def test_a_model_that_is_compiled_can_be_trained_afterwards(comers_and_goers):
    torch.manual_seed(0)
    model = GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, history_layers=1)).eval()
    seen_and_followed(model, comers_and_goers, patience=2)
    model.train()
    seen = Sightings.of(comers_and_goers)
    identity = np.arange(len(seen)) % 5
    model.logits(follow(seen, identity, model.config, TrackerConfig())).sum().backward()
    assert all(p.requires_grad for p in model.parameters()) and model.training
    assert any(p.grad is not None for p in model.parameters())
