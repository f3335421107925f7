"""What a model of DREEM is asked in training, and DREEM's own loss. All detections of a clip are compared with all.

clips ── DreemBatch (windows, edges of all pairs, which are true) ── DreemTransformer.logits ── DreemLoss, or AssoLoss
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kintrack.core.clip import Clip, Crops
from kintrack.core.detections import Floats
from kintrack.core.sightings import Sightings
from kintrack.errors import AlignmentError, InputError
from kintrack.models.blocks import group_logsumexp, group_sum
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.tracking.dreem import DreemTracker
from kintrack.training.dreem_config import DreemLossConfig
from kintrack.windows.crops import in_batches
from kintrack.windows.dreem import ON_CPU, DreemScorer

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class DreemBatch:
    """The questions of several clips: every detection of a clip asks in each of its frames which one there it is.

    Edges are the pairs of all matrices, one clip after the other and row by row.

    Args:
        windows: of each clip.
        row_group: (E,) edges with the same number are the answers of one frame to one detection.
        column_group: (E,) edges with the same number are the detections of one frame that want one reference.
        target: (E,) whether the two are one individual; a detection is itself.
        clip: (G,) the clip of each row group.
        known: (G,) whether the detection that asks is somebody.
    """

    windows: tuple[DreemWindow, ...]
    row_group: Int[Tensor, " e"]
    column_group: Int[Tensor, " e"]
    target: Bool[Tensor, " e"]
    clip: Int[Tensor, " g"]
    known: Bool[Tensor, " g"]

    def __iter__(self) -> Iterator[DreemWindow]:
        return iter(self.windows)

    @property
    def crops(self) -> None:
        """None: crops belong to the windows, and are never withheld."""
        return None

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        """The questions of clips that hold detections.

        Raises:
            InputError: a clip lacks crops, or the size of its images.
        """
        parts: list[tuple[Tensor, ...]] = []
        rows = columns = 0
        for number, clip in enumerate(clips):
            frames, rank = np.unique(clip.detections.frame, return_inverse=True)
            n, t = len(rank), len(frames)
            q, r = np.divmod(np.arange(n * n), n)
            identity = clip.identity
            target = (identity[q] == identity[r]) & (identity[q] >= 0)
            known = np.repeat(identity >= 0, t)
            groups = [q * t + rank[r] + rows, r * t + rank[q] + columns]
            rows, columns = rows + n * t, columns + n * t
            parts.append(tuple(map(torch.from_numpy, [*groups, target, np.full(n * t, number), known])))
        joined = (torch.cat(each) for each in zip(*parts, strict=True))
        return cls(tuple(window_of(clip) for clip in clips), *joined)

    def to(self, device: torch.device | str) -> Self:
        """The same questions on another device."""
        return dataclasses.replace(tensors_to(self, device), windows=tuple(tensors_to(w, device) for w in self.windows))


def tensors_to(held: T, device: torch.device | str) -> T:
    """A dataclass with its tensors on another device."""
    tensors = {name: value.to(device) for name, value in vars(held).items() if isinstance(value, Tensor)}
    return dataclasses.replace(held, **tensors)  # type: ignore[type-var]


class DreemLoss(nn.Module):
    """DREEM's association loss: cross-entropy over the detections of each frame, and the null, whose logit is 0.

        loss of a layer = sum over detections q that are somebody, and frames t, of
                              log(1 + sum of exp(s[q, j]) over j in t) - s[q, true one in t, or the null]
                          / (number of true pairs + epsilon)

    Layers are summed, clips averaged. A detection is among the answers in its own frame, too. (DREEM looks for the true
    ones by overlap: of two boxes at one place it takes the first for both, and with a box of nan nobody of that frame.
    Here identities say who is who.)

    Args:
        config: a `DreemLossConfig`.
    """

    def __init__(self, config: DreemLossConfig | None = None) -> None:
        super().__init__()
        self.config = config or DreemLossConfig()

    def forward(self, logits: Float[Tensor, "l e"], asked: DreemBatch) -> Float[Tensor, ""]:
        """The loss; 0 (with gradients of 0) where nobody is known.

        Args:
            logits: of each decoder layer, as `DreemTransformer.logits` gives them for the batch.
            asked: the questions.
        """
        if logits.shape[-1] != len(asked.target):
            raise AlignmentError(
                f"{logits.shape[-1]} logits a layer, but {len(asked.target)} pairs in the batch; give the batch's own"
            )
        n_groups, n_clips = len(asked.clip), len(asked.windows)
        counts = asked.known | self.config.neg_unmatched
        true_pairs = asked.target.new_zeros(n_clips, dtype=torch.float32)
        true_pairs.index_add_(0, asked.clip[asked.row_group], asked.target.float())
        total = logits.new_zeros(())
        for layer in logits.float():
            claimed = group_logsumexp(layer, asked.row_group, n_groups)
            right = group_sum(layer * asked.target, asked.row_group, n_groups)  # a true one at most, else the null's 0
            surprise = group_sum((claimed - right) * counts, asked.clip, n_clips)
            total = total + (surprise / (true_pairs + self.config.epsilon)).mean()
        return total * self.config.asso_weight


def window_of(clip: Clip) -> DreemWindow:
    """A clip as a model of DREEM sees it: all of its detections ask.

    Raises:
        InputError: the clip lacks crops, or nobody knows how large its images are.
    """
    n = len(clip.detections)
    return DreemWindow(
        boxes=torch.from_numpy(_shown(clip).astype(np.float32)),
        frame=torch.from_numpy(clip.detections.frame.astype(np.int64)),
        query=torch.arange(n),
        shape=_shape(clip),
        crops=torch.tensor(_crops(clip)),
    )


def _shown(clip: Clip) -> Floats:
    """(N, A, 4) what each crop shows; the boxes where the clip does not say."""
    return clip.detections.box[:, None] if clip.shown is None else clip.shown


def _crops(clip: Clip) -> Crops:
    if clip.crops is None:
        raise InputError("a model of DREEM looks at pixels, but the clip has no crops; give each detection its crop")
    return clip.crops


def _shape(clip: Clip) -> tuple[int, int]:
    info = clip.detections.video
    if info is None or info.shape is None:
        raise InputError(
            "a model of DREEM knows places as shares of the image, but the detections of a clip do not say how large "
            "that is; give their `video` a shape (Y, X), as in VideoInfo(shape=(1024, 1280))"
        )
    return info.shape


def tracked_by_dreem(model: DreemTransformer, tracker: DreemTracker, clip: Clip) -> Clip:
    """The clip with the tracks that a model of DREEM and its tracker predict. The model's mode stays as it was."""
    was_training = model.training
    model.eval()
    try:
        shape, shown = _shape(clip), _shown(clip)
        scorer = DreemScorer(model, shape)
        seen = scorer.embed(Sightings.of(clip.detections), in_batches(_crops(clip), ON_CPU), shown)
        tracker.diagonal = float(np.hypot(*shape))
        return clip.with_columns(predicted=tracker(scorer, clip.detections, seen).track)
    finally:
        model.train(was_training)


__all__ = ["DreemBatch", "DreemLoss", "tensors_to", "tracked_by_dreem", "window_of"]
