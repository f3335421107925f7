"""How alike a query and a track look: the one place where features of crops meet.

In training the features are made by the encoder that learns them, in tracking they travel with the sightings; both ask
here, so that what is measured is the same.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kintrack.config import PAIR_FEATURES


def remembered_look(appearance: Float[Tensor, "n a"], edges: Int[Tensor, "h 2"]) -> Float[Tensor, "n a"]:
    """How the track of each sighting has looked: the mean direction of its own feature and those it remembers.

    One sighting may be blurred, in the shade or half hidden; several together are less so.

    Args:
        appearance: of each sighting, of length one; 0 where nobody looked.
        edges: (sighting, an earlier one of its track that is remembered).
    """
    total = appearance.index_add(0, edges[:, 0], appearance[edges[:, 1]])
    return torch.nn.functional.normalize(total, dim=1, eps=1e-6)


def with_likeness(
    pair: Float[Tensor, "e p"],
    pairs: Int[Tensor, "e 2"],
    query: Float[Tensor, "q a"],
    last: Float[Tensor, "r a"],
    track: Float[Tensor, "r a"],
) -> Float[Tensor, "e p"]:
    """What is measured of pairs, with what their looks say filled in.

    That is the cosine of the query's feature with the track's last one and with its `remembered_look`; how much the
    latter is above that of the best rival, among the query's candidates and among those who ask for the track; and
    whether both were looked at.

    Args:
        pair: what is measured of each pair, in the order of `PAIR_FEATURES`.
        pairs: rows of query and of track.
        query, last, track: features of length one, 0 where nobody looked.
    """
    q, r = pairs[:, 0], pairs[:, 1]
    both = ((query[q] != 0).any(dim=1) & (track[r] != 0).any(dim=1)).to(pair.dtype)
    alike = (query[q] * track[r]).sum(dim=1)
    found = {
        "appearance": (query[q] * last[r]).sum(dim=1),
        "appearance_remembered": alike,
        "appearance_lead_query": both * _lead(alike, q, len(query)),
        "appearance_lead_track": both * _lead(alike, r, len(track)),
        "has_appearance": both,
    }
    columns = list(pair.unbind(dim=1))
    for name, column in found.items():
        columns[PAIR_FEATURES.index(name)] = column
    return torch.stack(columns, dim=1)


def _lead(alike: Float[Tensor, " e"], group: Int[Tensor, " e"], n_groups: int) -> Float[Tensor, " e"]:
    """How much each is above the best other one of its group; of one without a rival, above 0."""
    best = _greatest(alike, group, n_groups)
    leads = alike == best[group]
    second = _greatest(torch.where(leads, -torch.inf, alike), group, n_groups)
    tied = alike.new_zeros(n_groups).index_add(0, group, leads.to(alike.dtype)) > 1
    rival = torch.where(leads & ~tied[group], second[group], best[group])
    return alike - torch.where(torch.isinf(rival), 0.0, rival)


def _greatest(values: Float[Tensor, " e"], group: Int[Tensor, " e"], n_groups: int) -> Float[Tensor, " g"]:
    """The greatest value of each group; -inf of one without any."""
    return values.new_full((n_groups,), -torch.inf).scatter_reduce(0, group, values, "amax")
