"""The contrast of looks: what teaches an encoder who is who, also where geometry alone would have told."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

TEMPERATURE = 0.1
"""What cosines are divided by, as in Khosla et al. (2020)."""
MOST = 512
"""Crops of a clip that are compared, all with all; of a clip with more, so many, evenly spread over its time."""


def contrast(looks: Float[Tensor, "s a"], who: Int[Tensor, "s 2"]) -> Float[Tensor, ""]:
    """How badly each crop finds the others of its individual among all crops of its clip; 0 where nobody can be asked.

    The supervised contrastive loss of Khosla et al. (2020, L_out), within each clip: crops of different videos differ
    anyway. With the features f of length one, the temperature t, and P(i) the other crops of the individual of crop i,

        l_i  = -mean over p in P(i) of log( exp(f_i f_p / t) / sum over j != i of exp(f_i f_j / t) )
        loss = mean over clips, over their individuals, over the crops i of each, of l_i

    so that who is seen rarely counts as much as the others. Left out are crops of nobody known, individuals of one
    crop, and clips of one individual.

    Args:
        looks: features of crops.
        who: the clip of each crop, and whom it shows: -1 is nobody known.

    >>> looks = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])  # two crops of one individual, one of another
    >>> contrast(looks, torch.tensor([[0, 5], [0, 5], [0, 6]]))  # (log(1 + exp(-2)) + log(1 + exp(1.6))) / 2
    tensor(0.9554)
    """
    known = torch.nonzero(who[:, 1] >= 0)[:, 0]
    found, clips = [], torch.unique(who[known, 0]).tolist()
    for clip in clips:
        rows = known[who[known, 0] == clip]
        if len(rows) > MOST:
            rows = rows[torch.linspace(0, len(rows) - 1, MOST, device=rows.device).round().long()]
        if (one := _of_clip(looks[rows], who[rows, 1])) is not None:
            found.append(one)
    return torch.stack(found).mean() if found else 0.0 * looks.sum()


def _of_clip(looks: Float[Tensor, "n a"], who: Int[Tensor, " n"]) -> Float[Tensor, ""] | None:
    """The loss of one clip; None where there is nobody to find, or nobody to be mistaken for."""
    ids, individual, n_crops = torch.unique(who, return_inverse=True, return_counts=True)
    asks = n_crops[individual] > 1
    if len(ids) < 2 or not asks.any():
        return None
    itself = torch.eye(len(who), dtype=torch.bool, device=who.device)
    same = (individual[:, None] == individual) & ~itself
    alike = (looks.float() @ looks.float().T / TEMPERATURE).masked_fill(itself, -torch.inf)
    surprise = torch.logsumexp(alike, dim=1, keepdim=True) - alike
    each = surprise.masked_fill(~same, 0.0).sum(dim=1)[asks] / same.sum(dim=1)[asks]
    weight = 1.0 / n_crops[individual[asks]]
    mean: Tensor = (weight * each).sum() / weight.sum()
    return mean


__all__ = ["MOST", "TEMPERATURE", "contrast"]
