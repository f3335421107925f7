"""How alike a query and a track look, as it is measured for each pair."""

import numpy as np
import pytest
import torch

from kintrack.config import PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.likeness import remembered_look, with_likeness
from kintrack.windows.scorer import Scorer
from kintrack.windows.window import follow

NOTHING = torch.zeros(0, 2, dtype=torch.int64)


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def measured(query, last, track=None, pairs=None):
    """The appearance features of pairs, by name; of all pairs where none are given."""
    pairs = torch.cartesian_prod(torch.arange(len(query)), torch.arange(len(last))) if pairs is None else pairs
    blank = torch.zeros(len(pairs), len(PAIR_FEATURES))
    filled = with_likeness(blank, pairs, query, last, last if track is None else track)
    others = [i for i, name in enumerate(PAIR_FEATURES) if "appearance" not in name]
    assert (filled[:, others] == 0).all()
    return {name: filled[:, i].numpy() for i, name in enumerate(PAIR_FEATURES) if "appearance" in name}


def test_what_a_track_looks_like_is_the_mean_of_what_is_remembered_of_it():
    seen = unit([1, 0], [0, 1], [1, 1], [1, 0])
    look = remembered_look(seen, torch.tensor([[1, 0], [3, 2], [3, 1]]))
    assert look[0].tolist() == seen[0].tolist()
    assert look[1].numpy() == pytest.approx(np.sqrt([0.5, 0.5]), abs=1e-6)
    assert look.norm(dim=1).numpy() == pytest.approx(np.ones(4), abs=1e-6)
    mean = (seen[3] + seen[2] + seen[1]).numpy()
    assert look[3].numpy() == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_who_was_not_looked_at_adds_nothing_to_a_look():
    seen = torch.cat([unit([1, 2]), torch.zeros(2, 2)])
    look = remembered_look(seen, torch.tensor([[1, 0], [1, 2]]))
    assert look[1].numpy() == pytest.approx(seen[0].numpy(), abs=1e-6)
    assert (look[2] == 0).all()


def test_one_bad_sighting_hardly_changes_how_a_track_looks():
    me, other = unit([1, 0.1, 0]), unit([0, 0.1, 1])
    seen = torch.cat([me.repeat(7, 1), other])
    look = remembered_look(seen, torch.tensor([[7, i] for i in range(7)]))[7:]
    found = measured(me, other, look)
    assert found["appearance"][0] < 0.1 and found["appearance_remembered"][0] > 0.95


def test_likeness_is_the_cosine_with_the_last_and_with_all_that_is_remembered():
    query, last, track = unit([1, 0]), unit([3, 4]), unit([4, 3])
    found = measured(query, last, track)
    assert found["appearance"][0] == pytest.approx(0.6)
    assert found["appearance_remembered"][0] == pytest.approx(0.8)
    assert found["has_appearance"][0] == 1.0


def test_the_lead_is_over_the_best_rival_of_the_query_and_of_the_track():
    query, track = unit([1, 0], [0, 1]), unit([1, 0], [3, 4])
    alike = np.array([1.0, 0.6, 0.0, 0.8])  # of the pairs (0, 0), (0, 1), (1, 0), (1, 1)
    found = measured(query, track)
    assert found["appearance_remembered"] == pytest.approx(alike, abs=1e-6)
    assert found["appearance_lead_query"] == pytest.approx([0.4, -0.4, -0.8, 0.8], abs=1e-6)
    assert found["appearance_lead_track"] == pytest.approx([1.0, -0.2, -1.0, 0.2], abs=1e-6)


def test_clones_have_no_lead_and_one_without_rivals_leads_over_nothing():
    clone = unit([3, 4])
    found = measured(clone, torch.cat([clone, clone]))
    assert found["appearance_lead_query"] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert found["appearance_lead_track"] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_where_one_was_not_looked_at_nothing_is_measured():
    blind = torch.zeros(1, 2)
    for query, track in ((blind, unit([1, 0])), (unit([1, 0]), blind)):
        assert all(value[0] == 0 for value in measured(query, track).values())
    assert all(len(value) == 0 for value in measured(blind[:0], blind, pairs=NOTHING).values())


def test_likeness_can_be_learned_from():
    query = unit([1, 0.2], [0.3, 1]).requires_grad_()
    blank, pairs = torch.zeros(4, len(PAIR_FEATURES)), torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    with_likeness(blank, pairs, query, query.detach(), remembered_look(query, NOTHING)).sum().backward()
    assert torch.isfinite(query.grad).all() and query.grad.abs().sum() > 0


@pytest.mark.parametrize("layers", [0, 1])
def test_what_is_remembered_is_the_same_in_training_and_in_tracking(layers):
    """Five frames of two individuals: by a window at once, and frame by frame through a memory."""
    torch.manual_seed(0)
    config = ModelConfig(dim=16, heads=2, history_layers=layers, encoder={"kind": "conv", "dim": 8, "crop_size": 16})
    model = GlobalTrackingTransformer(config).eval()
    centre = np.array([[20.0 * who + t, 0] for t in range(5) for who in (0, 1)])
    detections = Detections(frame=np.repeat(np.arange(5), 2), box=np.concatenate([centre - 5, centre + 5], axis=1))
    pixels = np.random.default_rng(0).random((10, 1, 16, 16), np.float32)
    identity, tracker = np.array([0, 1] * 5), TrackerConfig(memory=3)
    seen = Sightings.of(detections)
    window = follow(seen, identity, config, tracker, crops=pixels)
    expected = model.logits(window)[-1].mean(dim=0)[-4:].detach().numpy()
    scorer = Scorer(model)
    seen = scorer.embed(seen, [(np.arange(10), pixels)])
    memory = Memory.like(seen)
    for t in range(4):
        memory = memory.remember(seen.take(slice(2 * t, 2 * t + 2)), identity[:2], tracker.memory)
    query, pairs = seen.take(slice(8, 10)), np.stack(np.meshgrid([0, 1], memory.last, indexing="ij"), -1).reshape(-1, 2)
    assert scorer(query, memory, pairs) == pytest.approx(expected, abs=1e-5)
    blurred = memory.sightings.appearance.copy()
    blurred[memory.rank == 2] = blurred[memory.rank == 2][::-1]  # the oldest that is remembered
    other = Memory(memory.sightings.with_columns(appearance=blurred), memory.track, memory.rank)
    assert np.abs(scorer(query, other, pairs) - expected).max() > 1e-4
