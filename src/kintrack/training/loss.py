"""The association loss: how surprised a model is by who is who."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kintrack.config import LossConfig
from kintrack.errors import AlignmentError, InputError
from kintrack.models.blocks import group_logsumexp, group_sum
from kintrack.models.gtr import AssociationMatrix
from kintrack.training.contrast import contrast


@runtime_checkable
class Questions(Protocol):
    """Edges, the groups in which they compete, and which are true: a `kintrack.windows.window.Window` with a target."""

    @property
    def row_group(self) -> Int[Tensor, " e"]: ...
    @property
    def column_group(self) -> Int[Tensor, " e"]: ...
    @property
    def target(self) -> Bool[Tensor, " e"] | None: ...


class AssoLoss(nn.Module):
    """The association loss of GTR (Zhou et al. 2022), on edges, focused on what is hard.

    A group is a question with several candidate answers and the null, "none of them", whose logit is 0: a query and the
    references of one rank (or, between frames, of one frame). With the logits s of its candidates and P the true ones:

        surprise = log(1 + sum of exp(s)) - log(sum of exp(s) over P)      if there are true ones
                 = log(1 + sum of exp(s))                                   if the null is true
        loss     = mean over groups of (1 - p)^focal * surprise,            p = exp(-surprise), without gradient

    `both_ways` adds the same over the questions that references ask: which query of a frame is it seen as? The loss of
    the last decoder layer counts 1, that of each layer before it `layer_weight`. A group of several true answers (a
    mother and her two daughters) is content with any of them. Where looks are given, `appearance` times their
    `kintrack.training.contrast.contrast` is added: geometry explains nearly all links, so links alone teach an encoder
    next to nothing.

    >>> loss = AssoLoss(both_ways=False, focal=0.0)
    >>> matrix = torch.tensor([[0.0, 0.0]])  # one query, two references of one frame, the first is true
    >>> loss([matrix], torch.tensor([[True, False]]), torch.tensor([0, 0])).exp().round(decimals=4)
    tensor(3.)
    """

    def __init__(
        self, both_ways: bool = True, focal: float = 0.5, layer_weight: float = 0.5, appearance: float = 0.5
    ) -> None:
        super().__init__()
        options = {"both_ways": both_ways, "focal": focal, "layer_weight": layer_weight, "appearance": appearance}
        self.config = LossConfig.of(options)

    def forward(
        self,
        association: Tensor | Sequence[Tensor] | Sequence[AssociationMatrix],
        truth: Questions | Bool[Tensor, "q r"],
        frame: Int[Tensor, " n"] | None = None,
        query_frame: Int[Tensor, " m"] | None = None,
        looks: Float[Tensor, "s a"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss, a scalar; 0 (with gradients of 0) where nothing is asked.

        Args:
            association: with a window, of each decoder layer the (E,) logits, or (2, E) against the query's null and
                against the reference's; with a boolean target, their (Q, R) matrices, -inf where a pair is no
                candidate.
            truth: a window with its target, or (Q, R) whether query and reference are one individual.
            frame: (R,) each reference's frame; only with matrices. References of one frame are one question's answers.
            query_frame: (Q,) each query's frame; by default all are of one frame.
            looks: features of the window's crops, to be contrasted where it says whom they show.
        """
        if isinstance(truth, Tensor):
            logits, row_group, column_group, target = _edges(association, truth, frame, query_frame)
        else:
            logits = _stack(association)
            row_group, column_group, target = truth.row_group, truth.column_group, _known(truth.target)
        if logits.shape[-1] != len(target):
            raise AlignmentError(
                f"{logits.shape[-1]} logits a layer, but {len(target)} edges in the window; give a window's own logits"
            )
        # Against the query's null for what queries ask, against the reference's for what references ask.
        asked, claimed = (logits, logits) if logits.ndim == 2 else logits.unbind(dim=1)
        surprise = self._mean_surprise(asked, row_group, target)
        if self.config.both_ways:
            surprise = surprise + self._mean_surprise(claimed, column_group, target)
        weight = torch.full_like(surprise, self.config.layer_weight)
        weight[-1] = 1.0
        total = (weight * surprise).sum()
        who = getattr(truth, "who", None)
        if looks is None or who is None or not self.config.appearance:
            return total
        return total + self.config.appearance * contrast(looks, who)

    def _mean_surprise(
        self, logits: Float[Tensor, "l e"], group: Int[Tensor, " e"], target: Bool[Tensor, " e"]
    ) -> Float[Tensor, " l"]:
        """Each layer's mean over the groups."""
        n_layers, n_edges = logits.shape
        if not n_edges:
            return logits.sum(dim=1)  # 0, and still of the graph: under DDP every process must have gradients
        n_groups = int(group.max()) + 1
        # The layers become groups of their own, so that all are done at once.
        every = (group + n_groups * torch.arange(n_layers, device=group.device)[:, None]).flatten()  # (l * e)
        flat, positive = logits.float().flatten(), target.repeat(n_layers)
        claimed = group_logsumexp(flat, every, n_layers * n_groups)
        surprise = claimed - positive_logsumexp(flat, positive, every, n_layers * n_groups)
        probability = torch.exp(-surprise.detach()).clamp(max=1.0)
        weighted = (1.0 - probability) ** self.config.focal * surprise
        return weighted.reshape(n_layers, n_groups).mean(dim=1)


def positive_logsumexp(
    logits: Float[Tensor, " e"], positive: Bool[Tensor, " e"], group: Int[Tensor, " e"], n_groups: int
) -> Float[Tensor, " g"]:
    """How strongly each group claims what is true: log-sum-exp over its positive edges, or the null's 0 if it has none.

    >>> positive_logsumexp(torch.zeros(3), torch.tensor([True, True, False]), torch.tensor([0, 0, 1]), 2).exp()
    tensor([2., 1.])
    """
    logits = logits.masked_fill(~positive, -torch.inf)
    top = logits.new_full((n_groups,), -torch.inf).scatter_reduce(0, group, logits.detach(), "amax")
    none = top == -torch.inf
    top = top.masked_fill(none, 0.0)
    total = group_sum(torch.exp(logits - top[group]), group, n_groups)
    return top + torch.log(total + none)


def _known(target: Tensor | None) -> Tensor:
    if target is None:
        raise InputError("the window has no target; build it with the identities of its detections")
    return target


def _stack(layers: Tensor | Sequence[Tensor] | Sequence[AssociationMatrix]) -> Tensor:
    """(L, ...) from a tensor or from one for each layer."""
    if isinstance(layers, Tensor):
        return layers
    if not len(layers):
        raise InputError("no decoder layer was given; wanted the logits of at least one")
    return torch.stack([layer.matrix if isinstance(layer, AssociationMatrix) else layer for layer in layers])


def _edges(
    association: Tensor | Sequence[Tensor] | Sequence[AssociationMatrix],
    target: Bool[Tensor, "q r"],
    frame: Tensor | None,
    query_frame: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matrices as edges: logits (L, E), row groups (E,), column groups (E,) and targets (E,)."""
    matrix = _stack(association)  # (l, q, r)
    if frame is None:
        raise InputError("matrices were given without the references' frames; give frame (R,)")
    if query_frame is None:
        query_frame = frame.new_zeros(len(target))
    if matrix.shape[1:] != target.shape or target.shape != (len(query_frame), len(frame)):
        raise AlignmentError(
            f"matrices are {tuple(matrix.shape[1:])}, the target {tuple(target.shape)}, frames {len(query_frame)} and "
            f"{len(frame)}; wanted one row a query and one column a reference in all of them"
        )
    q, r = torch.nonzero((matrix > -torch.inf).all(dim=0), as_tuple=True)
    frames, rank = torch.unique(frame, return_inverse=True)
    queried, query_rank = torch.unique(query_frame, return_inverse=True)
    row_group = _dense(q * len(frames) + rank[r])
    column_group = _dense(r * len(queried) + query_rank[q])
    return matrix[:, q, r], row_group, column_group, target[q, r]


def _dense(group: Tensor) -> Tensor:
    """The same groups numbered 0, 1, 2, … without holes, so that none is empty and the mean is over what was asked."""
    dense: Tensor = torch.unique(group, return_inverse=True)[1]
    return dense
