"""The association loss against a slow one that can be read, and at the edges."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kintrack.config import ModelConfig, TrackerConfig
from kintrack.core.clip import Clip
from kintrack.core.detections import Detections
from kintrack.errors import AlignmentError, ConfigError, InputError
from kintrack.models import AssociationMatrix, GlobalTrackingTransformer
from kintrack.training.batches import questions
from kintrack.training.loss import AssoLoss
from kintrack.windows.window import Window


def window(seed: int, n_edges: int = 60, n_rows: int = 15, n_columns: int = 12):
    """Edges in groups without holes, some of which have no true edge and some several."""
    rng = np.random.default_rng(seed)
    rows = np.unique(rng.integers(0, n_rows, n_edges), return_inverse=True)[1]
    columns = np.unique(rng.integers(0, n_columns, n_edges), return_inverse=True)[1]
    return SimpleNamespace(
        row_group=torch.from_numpy(rows),
        column_group=torch.from_numpy(columns),
        target=torch.from_numpy(rng.random(n_edges) < 0.3),
    )


def slow_loss(logits, w, both_ways=True, focal=0.5, layer_weight=0.5):
    """The docstring's formula, group by group, in plain numbers."""
    total = 0.0
    for layer, row in enumerate(logits.tolist()):
        for groups in (w.row_group, w.column_group)[: 1 + both_ways]:
            surprises = []
            for g in sorted(set(groups.tolist())):
                edges = [e for e in range(len(row)) if groups[e] == g]
                positive = [math.exp(row[e]) for e in edges if w.target[e]]
                claimed = 1 + sum(math.exp(row[e]) for e in edges)
                surprise = math.log(claimed) - math.log(sum(positive) if positive else 1)
                surprises.append((1 - math.exp(-surprise)) ** focal * surprise)
            weight = 1.0 if layer == len(logits) - 1 else layer_weight
            total += weight * sum(surprises) / len(surprises)
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, {"both_ways": False}, {"focal": 0.0}, {"focal": 2.0, "layer_weight": 0.1}])
def test_it_equals_a_double_loop(seed, options):
    w = window(seed)
    logits = 3 * torch.randn(3, len(w.target), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert AssoLoss(**options)(logits, w).item() == pytest.approx(slow_loss(logits, w, **options), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_queries_ask_against_their_null_and_references_against_theirs(seed):
    """(L, 2, E): the first logits for the groups of rows, the second for the groups of columns."""
    w = window(seed)
    logits = 3 * torch.randn(3, 2, len(w.target), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    by_rows = slow_loss(logits[:, 0], w, both_ways=False)
    turned = SimpleNamespace(row_group=w.column_group, column_group=w.row_group, target=w.target)
    by_columns = slow_loss(logits[:, 1], turned, both_ways=False)
    assert AssoLoss()(logits, w).item() == pytest.approx(by_rows + by_columns, rel=1e-6)
    assert AssoLoss(both_ways=False)(logits, w).item() == pytest.approx(by_rows, rel=1e-6)
    same = logits[:, :1].expand(-1, 2, -1)
    assert AssoLoss()(same, w).item() == pytest.approx(AssoLoss()(logits[:, 0], w).item())


def test_a_birth_is_taught_by_the_first_logit_and_a_miss_by_the_second():
    """Two lone detections and one track that is near both; nobody is anybody: all nulls are right."""
    w = SimpleNamespace(
        row_group=torch.tensor([0, 1]), column_group=torch.tensor([0, 0]), target=torch.tensor([False, False])
    )
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    loss = AssoLoss(focal=0.0)(logits, w)
    assert loss.item() == pytest.approx(math.log(2) + math.log(3))  # each is someone new; the track is missed
    loss.backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([1 / 2 / 2] * 2)  # the mean over two births
    assert logits.grad[0, 1].tolist() == pytest.approx([1 / 3] * 2)


def test_a_number_by_hand():
    """Logit 0 of one wrong and one true candidate: 1 of 3 equal answers is true, the surprise is log 3."""
    rows, columns, target = torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([True, False])
    w = SimpleNamespace(row_group=rows, column_group=columns, target=target)
    asked_by_query = (2 / 3) ** 0.5 * math.log(3)
    asked_by_references = 0.5**0.5 * math.log(2)  # each asks alone: this query, or nobody
    assert AssoLoss()(torch.zeros(1, 2), w).item() == pytest.approx(asked_by_query + asked_by_references)
    assert AssoLoss(both_ways=False, focal=0.0)(torch.zeros(1, 2), w).item() == pytest.approx(math.log(3))


def test_the_order_of_the_edges_does_not_matter():
    w, logits = window(1), torch.randn(2, 60)
    order = torch.randperm(60)
    mixed = SimpleNamespace(row_group=w.row_group[order], column_group=w.column_group[order], target=w.target[order])
    assert AssoLoss()(logits[:, order], mixed).item() == pytest.approx(AssoLoss()(logits, w).item(), rel=1e-6)


def test_another_window_beside_it_does_not_change_its_gradient():
    """Two windows with equally many groups in one: each has the gradient that it has alone, halved by the mean."""
    w, logits = window(1), torch.randn(2, 60)
    n_rows, n_columns = int(w.row_group.max()) + 1, int(w.column_group.max()) + 1
    twice = SimpleNamespace(
        row_group=torch.cat([w.row_group, w.row_group + n_rows]),
        column_group=torch.cat([w.column_group, w.column_group + n_columns]),
        target=torch.cat([w.target, ~w.target]),
    )
    alone = logits.clone().requires_grad_()
    AssoLoss()(alone, w).backward()
    beside = torch.cat([logits, torch.randn(2, 60)], dim=1).requires_grad_()
    AssoLoss()(beside, twice).backward()
    torch.testing.assert_close(beside.grad[:, :60], alone.grad / 2)


def test_gradients_are_finite_at_extreme_logits():
    w = window(2)
    for scale in (1e4, 1e30):
        logits = (scale * torch.randn(2, 60)).requires_grad_()
        loss = AssoLoss()(logits, w)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_a_right_answer_costs_nothing_and_a_wrong_one_much():
    w = window(3)
    first_of_group = np.unique(w.row_group.numpy(), return_index=True)[1]
    w.target = torch.zeros(60, dtype=torch.bool)
    w.target[first_of_group] = True
    right = torch.where(w.target, 30.0, -30.0)[None]
    loss = AssoLoss(both_ways=False)
    assert loss(right, w) < 1e-6 and loss(-right, w) > 20


def test_without_positives_the_null_is_the_answer():
    w = window(4)
    w.target = torch.zeros(60, dtype=torch.bool)
    logits = torch.zeros(1, 60, requires_grad=True)
    loss = AssoLoss(both_ways=False, focal=0.0)(logits, w)
    sizes = torch.bincount(w.row_group).double()
    assert loss.item() == pytest.approx(torch.log1p(sizes).mean().item(), rel=1e-6)
    loss.backward()
    assert (logits.grad > 0).all()  # every claim is pushed down


def test_without_edges_it_is_zero_with_a_graph_behind_it():
    none = torch.zeros(0, dtype=torch.int64)
    w = SimpleNamespace(row_group=none, column_group=none, target=none.bool())
    weight = torch.ones(2, requires_grad=True)
    loss = AssoLoss()(weight[:, None] * torch.zeros(2, 0), w)
    loss.backward()
    assert loss.item() == 0.0 and weight.grad.tolist() == [0.0, 0.0]


def test_every_parameter_of_a_model_gets_a_gradient_even_where_nothing_is_asked(make_clip):
    model = GlobalTrackingTransformer({"dim": 16, "heads": 2})
    lonely = Clip(make_clip(1).detections.take(slice(0, 1)), np.zeros(1))
    asked = questions([lonely], model.config, TrackerConfig())
    assert len(asked.pairs) == 0
    AssoLoss()(model.logits(asked), asked).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_matrices_and_frames_give_the_same_as_their_edges():
    """Two queries of a frame; one reference in frame 0, two in frame 1, one of which is no candidate of the first."""
    matrix = torch.tensor([[1.0, -2.0, -torch.inf], [0.5, 0.3, 2.0]])
    target = torch.tensor([[True, False, False], [False, False, True]])
    frame = torch.tensor([0, 1, 1])
    edges = SimpleNamespace(
        row_group=torch.tensor([0, 1, 2, 3, 3]),
        column_group=torch.tensor([0, 1, 0, 1, 2]),
        target=torch.tensor([True, False, False, False, True]),
    )
    logits = torch.tensor([[1.0, -2.0, 0.5, 0.3, 2.0]])
    expected = AssoLoss()(logits, edges).item()
    assert AssoLoss()([matrix], target, frame).item() == pytest.approx(expected)
    assert AssoLoss()([AssociationMatrix(matrix)], target, frame + 7).item() == pytest.approx(expected)
    apart = AssoLoss()([matrix], target, frame, query_frame=torch.tensor([2, 3])).item()
    assert apart != pytest.approx(expected)  # the references ask about one frame at a time


def test_a_mother_may_be_content_with_either_daughter():
    matrix, target = torch.tensor([[8.0, 8.0]]), torch.tensor([[True, True]])
    assert AssoLoss(both_ways=False)([matrix], target, torch.tensor([1, 1])) < 1e-3


def test_the_earlier_layers_count_by_their_weight():
    w, logits = window(5), torch.randn(2, 60)
    first, last = (AssoLoss()(logits[i : i + 1], w).item() for i in (0, 1))
    assert AssoLoss(layer_weight=0.25)(logits, w).item() == pytest.approx(0.25 * first + last, rel=1e-6)
    assert AssoLoss(layer_weight=0.25)(list(logits), w).item() == pytest.approx(0.25 * first + last, rel=1e-6)


def test_what_does_not_fit_is_refused_in_words():
    w = window(0)
    with pytest.raises(
        AlignmentError, match="59 logits a layer, but 60 edges in the window; give a window's own logits"
    ):
        AssoLoss()(torch.zeros(1, 59), w)
    with pytest.raises(AlignmentError, match="59 logits a layer, but 60 edges"):
        AssoLoss()(torch.zeros(1, 2, 59), w)
    with pytest.raises(InputError, match="the window has no target; build it with the identities"):
        AssoLoss()(torch.zeros(1, 60), SimpleNamespace(**vars(w) | {"target": None}))
    with pytest.raises(InputError, match="matrices were given without the references' frames"):
        AssoLoss()([torch.zeros(2, 3)], torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(AlignmentError, match=r"matrices are \(2, 3\), the target \(2, 2\)"):
        AssoLoss()([torch.zeros(2, 3)], torch.zeros(2, 2, dtype=torch.bool), torch.tensor([0, 1, 2]))
    with pytest.raises(InputError, match="no decoder layer was given"):
        AssoLoss()([], w)
    with pytest.raises(ConfigError, match="focal"):
        AssoLoss(focal=-1.0)


def near_or_far(seed: int, n: int = 30):
    """A window of n scenes of one track each: in half of them it is seen again, nearby; in the others somebody else
    is, five sizes away."""
    rng = np.random.default_rng(seed)
    again = rng.random(n) < 0.5
    step = np.where(again, rng.uniform(0, 1, n), rng.uniform(4, 5, n)) * 10
    windows = []
    for k in range(n):
        x = np.array([0.0, step[k]])
        box = np.stack([x - 5, np.full(2, -5.0), x + 5, np.full(2, 5.0)], axis=1)
        clip = Clip(Detections(frame=[0, 1], box=box), np.array([0, 0 if again[k] else 1]))
        windows.append(questions([clip], ModelConfig(dim=8, heads=1), TrackerConfig()))
    return Window.collate(windows), torch.from_numpy(again)


def test_a_lone_far_detection_is_learned_to_be_a_birth_and_a_lone_far_track_to_be_missed():
    torch.manual_seed(0)
    model, loss = GlobalTrackingTransformer(ModelConfig(dim=8, heads=1)), AssoLoss()
    taught, _ = near_or_far(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model.logits(taught), taught).backward()
        optimizer.step()
    asked, again = near_or_far(1)
    against_birth, against_miss = model.logits(asked)[-1]
    assert len(again) == len(against_birth) and 8 < again.sum() < 22
    for logits in (against_birth, against_miss, (against_birth + against_miss) / 2):  # the mean is the gain of a link
        assert ((logits > 0) == again).all()
    turned_round = SimpleNamespace(**{**vars(asked), "target": ~asked.target})
    assert loss(model.logits(asked), turned_round) > 10 * loss(model.logits(asked), asked)
