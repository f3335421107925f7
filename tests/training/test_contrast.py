"""The contrast of looks: its number, who is asked, and that an encoder learns by it where links teach nothing."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from kintrack.config import EncoderConfig, ModelConfig, TrackerConfig
from kintrack.core.boxes import from_centre
from kintrack.core.clip import Clip
from kintrack.core.detections import Detections
from kintrack.training import contrast as module
from kintrack.training.batches import questions
from kintrack.training.contrast import TEMPERATURE, contrast
from kintrack.training.loss import AssoLoss
from kintrack.training.runner import GTRRunner

ENCODER = EncoderConfig(kind="conv", crop_size=16, width=8, dim=8)


def by_hand(looks, who):
    """The docstring's formula, crop by crop."""
    clips = []
    for clip in sorted({c for c, w in who if w >= 0}):
        rows = [i for i, (c, w) in enumerate(who) if c == clip and w >= 0]
        alike = {(i, j): float(looks[i] @ looks[j]) / TEMPERATURE for i in rows for j in rows}
        people = {}
        for i in rows:
            same = [p for p in rows if p != i and who[p] == who[i]]
            total = sum(math.exp(alike[i, j]) for j in rows if j != i)
            if same:
                surprise = [-math.log(math.exp(alike[i, p]) / total) for p in same]
                people.setdefault(who[i], []).append(sum(surprise) / len(surprise))
        if people and len({who[i] for i in rows}) > 1:
            clips.append(sum(sum(each) / len(each) for each in people.values()) / len(people))
    return sum(clips) / len(clips)


def some_looks(n, seed=0):
    return normalize(torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_it_is_the_number_of_the_formula():
    """Individuals of 4, 2 and 1 crops; crops of nobody; a second clip in which the numbers mean others."""
    who = [(0, 3), (0, 3), (0, 9), (0, -1), (0, 3), (0, 9), (0, 3), (0, 4), (3, 3), (3, 5), (3, 3), (3, 5), (3, -1)]
    looks = some_looks(len(who))
    assert contrast(looks, torch.tensor(who)).item() == pytest.approx(by_hand(looks, who), abs=1e-5)


def test_who_is_seen_rarely_counts_as_much_as_the_others():
    """Two well known by their looks, one of whom is there forty times, and one who is mixed up with the first."""
    a, b = torch.eye(4)[:2]
    who = torch.tensor([[0, 0]] * 40 + [[0, 1]] * 2)
    right = contrast(torch.cat([a.repeat(40, 1), b.repeat(2, 1)]), who)
    wrong = contrast(torch.cat([a.repeat(40, 1), a[None], b[None]]), who)
    assert wrong - right > 0.3 / TEMPERATURE / 2


@pytest.mark.parametrize(
    "who",
    [
        [[0, -1], [0, -1], [0, -1]],  # nobody is known
        [[0, 1], [0, 1], [0, 1]],  # nobody else is there
        [[0, 1], [0, 2], [0, 3]],  # everybody is there once
        [[0, 1], [1, 1], [2, 1]],  # in clips of their own
    ],
)
def test_where_nobody_can_be_asked_it_is_nothing_and_still_has_gradients(who):
    looks = some_looks(3).requires_grad_()
    loss = contrast(looks, torch.tensor(who))
    loss.backward()
    assert loss.item() == 0.0 and looks.grad is not None and not looks.grad.any()


def test_of_a_long_clip_crops_from_all_of_its_time_are_compared(monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    looks = some_looks(9).requires_grad_()
    contrast(looks, torch.tensor([[0, i % 4 // 2] for i in range(9)])).backward()
    assert looks.grad.any(dim=1).tolist() == [i % 2 == 0 for i in range(9)]


def walkers(seed, n_frames=8):
    """Three who walk far from each other, in three shades that all crops of one share: geometry alone tells them."""
    rng = np.random.default_rng(seed)
    frame, who = np.repeat(np.arange(n_frames), 3), np.tile(np.arange(3), n_frames)
    centre = np.stack([100.0 * who + 2.0 * frame, 50.0 + rng.normal(0, 0.3, len(who))], axis=1)
    crops = rng.normal(0.5, 0.05, (len(who), 1, 16, 16))
    pattern = np.stack([np.zeros((16, 16)), np.indices((16, 16))[0] % 2, np.indices((16, 16)).sum(axis=0) % 2])
    crops += 0.1 * (rng.permutation(pattern)[who] - 0.5)[:, None]
    return Clip(Detections(frame, from_centre(centre, 10.0)), who, crops=np.clip(crops, 0, 1).astype(np.float32))


def runner_of(**loss):
    torch.manual_seed(0)
    model = {"dim": 16, "heads": 2, "decoder_layers": 1, "encoder": ENCODER.to_dict()}
    runner = GTRRunner(model, loss_cfg=loss, optimizer_cfg={"name": "AdamW", "lr": 0.01})
    runner.blank_appearance = 0.0
    return runner.train()


def test_training_adds_it_to_the_loss_and_validation_does_not():
    clip = walkers(0)
    with torch.no_grad():
        without, runner = runner_of(appearance=0.0), runner_of(appearance=2.0)
        links, both = (r.training_step([clip], 0)["loss"].item() for r in (without, runner))
        looks = runner.model.encode(torch.from_numpy(clip.crops.copy()))
        who = torch.from_numpy(np.stack([0 * clip.identity, clip.identity], axis=1))
        assert both - links == pytest.approx(2.0 * contrast(looks, who).item(), abs=1e-5)
        assert runner.eval().validation_step([clip], 0)["loss"].item() == pytest.approx(links, abs=1e-5)


def test_a_window_says_whom_its_crops_show_and_of_which_clip_they_are():
    clips = [walkers(0, 4), Clip(walkers(1).detections, walkers(1).identity), walkers(2, 5)]
    looking = ModelConfig.of({"encoder": ENCODER.to_dict()})
    window = questions(clips, looking, TrackerConfig())
    assert window.who.tolist() == [[0, i % 3] for i in range(12)] + [[2, i % 3] for i in range(15)]
    assert window.without_crops().who is None
    assert questions(clips, ModelConfig(), TrackerConfig()).who is None


def test_without_crops_a_loss_is_that_of_links_alone():
    clip = Clip(walkers(0).detections, walkers(0).identity)
    with torch.no_grad():
        a, b = (runner_of(appearance=weight).training_step([clip], 0)["loss"] for weight in (0.0, 3.0))
    assert a == b


def test_its_gradient_reaches_the_encoder():
    runner, clip = runner_of(appearance=1.0), walkers(0)
    window = questions([clip], runner.model.config, runner.tracker.config)
    looks = runner.model.encode(window.crops)
    logits = runner.model.logits(window, looks).detach()
    AssoLoss(appearance=1.0)(logits, window, looks=looks).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in runner.model.visual_encoder.parameters())


def told_apart(runner, clip):
    """How much more alike the crops of one individual are than those of two, as a mean cosine."""
    with torch.no_grad():
        looks = runner.model.eval().encode(torch.from_numpy(clip.crops.copy()))
    who = torch.from_numpy(clip.identity.copy())
    same, itself = who[:, None] == who, torch.eye(len(who), dtype=torch.bool)
    alike = looks @ looks.T
    return (alike[same & ~itself].mean() - alike[~same].mean()).item()


def test_individuals_are_told_apart_after_few_steps_though_geometry_tells_all():
    """The patterns are those of other individuals in each clip: what is learned is to see a difference."""
    gained = {}
    for weight in (0.0, 1.0):
        runner = runner_of(appearance=weight)
        optimizer = runner.configure_optimizers()["optimizer"]
        for step in range(30):
            optimizer.zero_grad()
            runner.training_step([walkers(step)], step)["loss"].backward()
            optimizer.step()
        gained[weight] = told_apart(runner, walkers(1000))
    assert gained[1.0] > 0.6 and gained[1.0] > gained[0.0] + 0.3
