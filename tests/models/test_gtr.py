"""The model: shapes, choices of the config, and what it refuses."""

import doctest
from types import SimpleNamespace

import pytest
import torch

from kintrack.config import HISTORY_FEATURES, PAIR_FEATURES, ModelConfig
from kintrack.errors import ConfigError
from kintrack.models import GlobalTrackingTransformer, blocks
from kintrack.models.blocks import group_attention, group_logsumexp
from kintrack.models.encoder import build_encoder
from kintrack.models.gtr import Graph, History


def inputs(n=5, e=12):
    """Random detections, neighbours and pairs."""
    torch.manual_seed(1)
    edges = torch.randint(0, n, (e, 2))
    graph = Graph(torch.rand(n, 6), edges, torch.rand(e, 3))
    return graph, torch.randint(0, n, (e, 2)), torch.rand(e, len(PAIR_FEATURES))


def past(*edges):
    """Random measures of the edges (last sighting, earlier one)."""
    edges = torch.tensor(edges or [(4, 0), (4, 1), (3, 2)])
    return History(edges, torch.rand(len(edges), len(HISTORY_FEATURES), generator=torch.Generator().manual_seed(2)))


def test_doctests():
    assert doctest.testmod(blocks).failed == 0


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("encoder_layers", [0, 2])
def test_each_decoder_layer_gives_two_logits_for_every_pair(layers, encoder_layers):
    model = GlobalTrackingTransformer(ModelConfig(decoder_layers=layers, encoder_layers=encoder_layers))
    graph, pairs, pair = inputs()
    token = model.embed(graph)
    logits = model.associate(token, token, pairs, pair)
    assert token.shape == (5, model.config.dim)
    assert logits.shape == (layers, 2, 12)


def some_logits(model):
    graph, pairs, pair = inputs()
    token = model.embed(graph)
    return model.associate(token, token, pairs, pair)


@pytest.mark.parametrize("ahead", [0, 1])
def test_one_logit_is_against_the_querys_null_and_the_other_against_the_references(ahead):
    """That a query is someone new speaks against its links in the first, that a reference is missed in the second."""
    torch.manual_seed(0)
    model = GlobalTrackingTransformer()
    before = some_logits(model)
    with torch.no_grad():
        (model.births, model.misses)[ahead][-1].layers[1].bias += 3.0
    after = some_logits(model)
    assert torch.allclose(after[-1, ahead], before[-1, ahead] - 3.0, atol=1e-5)
    assert torch.equal(after[-1, 1 - ahead], before[-1, 1 - ahead])
    assert torch.equal(after[:-1], before[:-1])


def test_all_pairs_of_a_query_have_one_null_and_so_have_those_of_a_reference():
    """What the two logits of a pair differ by is what its two ends' nulls differ by: f(query) - g(reference)."""
    torch.manual_seed(0)
    graph, _, pair = inputs(e=9)
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    model = GlobalTrackingTransformer()
    token = model.embed(graph)
    logits = model.associate(token, token, pairs, pair)[-1]
    apart = (logits[0] - logits[1]).reshape(3, 3)
    assert torch.allclose(apart - apart[:1], (apart - apart[:1])[:, :1].expand(3, 3), atol=1e-5)
    assert apart.std() > 1e-3


def test_the_answer_is_the_mean_of_both():
    torch.manual_seed(0)
    model = GlobalTrackingTransformer()
    graph, _, pair = inputs()
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    rows = torch.arange(5)
    none = torch.zeros(0, dtype=torch.long)
    window = SimpleNamespace(graph=graph, history=History(none.reshape(0, 2), torch.zeros(0, len(HISTORY_FEATURES))),
                             crops=None, shown=none, query=rows, reference=rows, pairs=pairs, pair=pair)  # fmt: skip
    token = model.embed(graph)
    logits = model.associate(token, model.recall(token, token, window.history), pairs, pair)
    matrices = model(window)
    assert len(matrices) == len(logits)
    q, r = pairs.T
    assert torch.allclose(matrices[-1].matrix[q, r], logits[-1].mean(dim=0))
    assert torch.isfinite(matrices[-1].matrix).sum() == len(pairs) == 12


def test_a_track_looks_back_at_its_own_past_alone():
    torch.manual_seed(0)
    model = GlobalTrackingTransformer()
    token = model.embed(inputs()[0])
    nothing = History(torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, len(HISTORY_FEATURES)))
    alone, looking = model.recall(token, token, nothing), model.recall(token, token, past())
    changed = ~torch.isclose(alone, looking, atol=1e-6).all(dim=1)
    assert changed.tolist() == [False, False, False, True, True]
    # The order in which it remembers is in the measures, not in the order of the edges.
    one = past()
    mixed = History(one.edges[[1, 2, 0]], one.past[[1, 2, 0]])
    assert torch.allclose(model.recall(token, token, mixed), looking, atol=1e-6)
    without = GlobalTrackingTransformer({"history_layers": 0})
    assert without.recall(token, token, past()) is token


def test_all_weights_of_a_model_with_pixels_are_used():
    model = GlobalTrackingTransformer({"encoder": {"kind": "conv", "dim": 8}})
    graph, pairs, pair = inputs()
    token = model.embed(graph, model.encode(torch.rand(5, 1, 64, 64)))
    track = model.recall(token, token, past())
    model.associate(token, track, pairs, pair).sum().backward()
    # The feed-forward of references in the last layer reaches the answer through the pairs alone; all have gradients.
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_features_of_crops_have_length_one_and_do_not_depend_on_brightness_or_batch():
    encoder = build_encoder(ModelConfig(encoder={"kind": "conv"}).encoder)
    torch.manual_seed(0)
    crops = 0.5 * torch.rand(4, 1, 64, 64)
    feature = encoder(crops)
    assert torch.allclose(feature.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.allclose(encoder(crops + 0.2), feature, atol=1e-5)
    assert torch.allclose(encoder(crops[:1]), feature[:1], atol=1e-5)


def test_a_model_without_pixels_refuses_crops():
    with pytest.raises(ConfigError, match="no visual encoder; build it with encoder.kind=conv"):
        GlobalTrackingTransformer().encode(torch.rand(1, 1, 64, 64))


def test_a_model_is_built_for_a_choice_of_measures():
    model = GlobalTrackingTransformer({"pair_features": ["distance", "overlap"], "node_features": ["aspect"]})
    graph, pairs, pair = inputs()
    token = model.embed(graph)
    before = model.associate(token, token, pairs, pair)
    other = pair.clone()
    other[:, PAIR_FEATURES.index("gap")] += 1
    assert torch.equal(model.associate(token, token, pairs, other), before)
    other[:, PAIR_FEATURES.index("overlap")] += 1
    assert not torch.equal(model.associate(token, token, pairs, other), before)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"dmi": 32}, "unknown option 'dmi': did you mean 'dim'"),
        ({"encoder": {"knd": "conv"}}, "unknown option 'encoder.knd': did you mean 'kind'"),
        (
            {"encoder": {"kind": "resnet"}},
            "encoder.kind: there is no encoder 'resnet': known are: conv, efficientnet_lite0, none, timm:<name>",
        ),
        ({"dim": 50}, "dim 50 cannot be divided among 4 heads"),
        ({"pair_features": ["distanc"]}, "unknown feature 'distanc': did you mean 'distance'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_with_a_guess(config, words):
    with pytest.raises(ConfigError, match=words):
        GlobalTrackingTransformer(config)


def test_attention_over_groups_is_softmax_attention():
    torch.manual_seed(0)
    logits, values = torch.rand(4, 2), torch.rand(4, 2, 3)
    group = torch.tensor([0, 0, 2, 0])
    found = group_attention(logits, values, group, 3)
    squashed = 8 * torch.tanh(logits / 8)
    expected = (squashed[group == 0].softmax(dim=0)[..., None] * values[group == 0]).sum(dim=0).flatten()
    assert torch.allclose(found[0], expected, atol=1e-6)
    assert found[1].tolist() == [0.0] * 6
    assert torch.allclose(found[2], values[2].flatten())


def test_log_sum_exp_over_groups_counts_the_null_and_does_not_overflow():
    logits = torch.tensor([1000.0, 1000.0, -1000.0], requires_grad=True)
    found = group_logsumexp(logits, torch.tensor([0, 0, 1]), 3)
    assert found.tolist() == pytest.approx([1000.6931, 0.0, 0.0])
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_no_detections_and_no_pairs_are_no_trouble():
    model = GlobalTrackingTransformer()
    graph = Graph(torch.zeros(0, 6), torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 3))
    token = model.embed(graph)
    logits = model.associate(token, token, torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, len(PAIR_FEATURES)))
    assert token.shape == (0, 48) and logits.shape == (2, 2, 0)
