"""What GTRRunner does beyond its contract (which is in test_contract.py): pixels, purity, odd input."""

import copy

import numpy as np
import pytest
import torch

from kintrack.core.clip import Clip
from kintrack.core.detections import Detections
from kintrack.errors import InputError
from kintrack.models.checkpoint import load_model
from kintrack.training.runner import GTRRunner

SEEING = {"dim": 16, "heads": 2, "encoder": {"kind": "conv", "width": 4, "crop_size": 16}}


def test_truth_is_nothing_that_a_prediction_can_see(tiny, make_clip):
    """The same tracks with true identities, with shuffled ones, and with none."""
    torch.manual_seed(0)
    runner = GTRRunner(tiny)
    clip = make_clip(1)
    given = [clip, clip.with_columns(identity=clip.identity[::-1]), Clip.untracked(clip.detections)]
    found = [[f.pred_track_ids.tolist() for f in runner.predict_step([c], 0)] for c in given]
    assert found[0] == found[1] == found[2]


def test_perfect_scores_track_perfectly(make_clip, tiny, monkeypatch):
    """With a model that knows the answer every measure is at its best: metrics compare with the clip's own truth."""
    runner = GTRRunner(tiny, metrics={"val": ["num_switches", "idf1", "mota"]})
    clip = make_clip(0)
    who = {tuple(box): i for box, i in zip(clip.detections.box.tolist(), clip.identity.tolist(), strict=True)}

    def score(self, query, memory, pairs):
        a = np.array([who[tuple(box)] for box in query.box.tolist()])
        b = np.array([who[tuple(box)] for box in memory.sightings.box.tolist()])
        return np.where(a[pairs[:, 0]] == b[pairs[:, 1]], 9.0, -9.0)

    monkeypatch.setattr("kintrack.windows.scorer.Scorer.__call__", score)
    result = runner.validation_step([clip], 0)
    assert (result["num_switches"], result["idf1"], result["mota"]) == (0.0, 1.0, 1.0)


def test_metrics_of_several_clips_are_pooled(make_clip, tiny):
    runner = GTRRunner(tiny, metrics={"val": ["num_switches"]})
    a, b = make_clip(1, video="a"), make_clip(2, video="b")
    alone = sum(runner.validation_step([c], 0)["num_switches"] for c in (a, b))
    assert runner.validation_step([a, b], 0)["num_switches"] == alone


def test_a_clip_of_which_nobody_knows_who_is_who_has_a_loss_but_no_metrics(make_clip, tiny):
    runner = GTRRunner(tiny)
    result = runner.validation_step([Clip.untracked(make_clip(1).detections)], 0)
    assert list(result) == ["loss"] and torch.isfinite(result["loss"])


def test_a_step_changes_neither_the_batch_nor_in_validation_the_model(make_clip, tiny):
    runner = GTRRunner(tiny, metrics={"train": ["idf1"]}).eval()
    clip = make_clip(1)
    before, weights = copy.deepcopy(clip), copy.deepcopy(runner.model.state_dict())
    runner.validation_step([clip], 0)
    runner.training_step([clip], 0)
    assert np.array_equal(before.identity, clip.identity) and np.array_equal(before.detections.box, clip.detections.box)
    assert all(torch.equal(weights[name], tensor) for name, tensor in runner.model.state_dict().items())


def test_the_loss_of_a_batch_is_that_of_its_clips_in_any_order(make_clip, tiny):
    runner = GTRRunner(tiny).eval()
    clips = [make_clip(seed) for seed in (1, 2, 3)]
    losses = [runner.validation_step(batch, 0)["loss"].item() for batch in (clips, clips[::-1])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_crops_are_withheld_in_some_training_steps_and_in_no_other(make_clip, monkeypatch):
    runner = GTRRunner(SEEING)
    seen = []
    whole = type(runner.model).logits
    monkeypatch.setattr(
        type(runner.model),
        "logits",
        lambda self, window, *looks: (seen.append(window.crops is not None), whole(self, window, *looks))[1],
    )
    clip = make_clip(1, n_frames=3, crop_size=16)
    runner.train()
    for _ in range(40):
        runner.training_step([clip], 0)
    assert 0.4 < np.mean(seen) < 0.95  # 0.7 of 40, give or take
    seen.clear()
    runner.eval()
    for _ in range(10):
        runner.validation_step([clip], 0)
    assert all(seen)
    seen.clear()
    runner.train().blank_appearance = 1.0
    runner.training_step([clip], 0)
    assert seen == [False]


def test_the_encoder_learns_from_the_crops(make_clip):
    runner = GTRRunner(SEEING)
    runner.blank_appearance = 0.0
    runner.training_step([make_clip(1, crop_size=16)], 0)["loss"].backward()
    assert all(p.grad.any() for p in runner.model.visual_encoder.parameters())


def test_crops_in_validation_reach_the_tracker(make_clip, monkeypatch):
    runner = GTRRunner(SEEING)
    clip = make_clip(1, crop_size=16)
    encoded = []
    whole = type(runner.model).encode
    monkeypatch.setattr(
        type(runner.model), "encode", lambda self, crops: (encoded.append(len(crops)), whole(self, crops))[1]
    )
    runner.predict_step([clip], 0)
    assert sum(encoded) == len(clip.detections)


def test_frames_that_do_not_start_at_zero_and_have_gaps_are_no_problem(make_clip, tiny):
    runner = GTRRunner(tiny).eval()
    clip = make_clip(1)
    moved = clip.with_columns(
        detections=clip.detections.with_columns(frame=clip.detections.frame + 1000), frames=clip.frames + 1000
    )
    losses = [runner.validation_step([c], 0)["loss"].item() for c in (clip, moved)]
    assert losses[0] == pytest.approx(losses[1])
    sparse = clip.detections.with_columns(frame=clip.detections.frame * 7)
    assert torch.isfinite(runner.validation_step([Clip(sparse, clip.identity)], 0)["loss"])


@pytest.mark.parametrize("box", [[[5, 5, 5, 5]] * 3, [[np.nan] * 4] * 3, [[0, 0, 9, 9]] * 3])
def test_points_unknown_places_and_coincident_boxes_are_no_problem(box, tiny):
    runner = GTRRunner(tiny)
    result = runner.training_step([Clip(Detections([0, 1, 2], box), [0, 0, 0])], 0)
    assert torch.isfinite(result["loss"])
    assert all(torch.isfinite(p.grad).all() for p in backward(runner, result))


def backward(runner: GTRRunner, result) -> list[torch.nn.Parameter]:
    result["loss"].backward()
    return [p for p in runner.parameters() if p.grad is not None]


def test_hyper_parameters_are_plain_values(tiny):
    def plain(value) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        return isinstance(value, list | str | int | float | bool | None) and (
            not isinstance(value, list) or all(map(plain, value))
        )

    assert plain(dict(GTRRunner(tiny).hparams))


def test_a_checkpoint_of_the_runner_is_a_model_without_lightning(tmp_path, tiny):
    runner = GTRRunner(tiny)
    held = {"state_dict": runner.state_dict()}
    runner.on_save_checkpoint(held)
    torch.save(held, tmp_path / "r.ckpt")
    loaded = load_model(tmp_path / "r.ckpt")
    assert loaded.config == runner.model.config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), runner.model.parameters(), strict=True))


def test_what_is_no_batch_is_an_error_in_words(tiny):
    with pytest.raises(InputError, match="a batch is a list of clips"):
        GTRRunner(tiny).training_step(7, 0)
