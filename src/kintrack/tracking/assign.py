"""From a matrix of scores to pairs."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from kintrack.core.detections import Floats, Ints


def assign(gain: Floats) -> tuple[Ints, Ints]:
    """The pairs (rows, columns) of the greatest total gain, each row and column at most once, none at a loss.

    The null gains 0: what gains nothing stays alone.

    >>> rows, columns = assign(np.array([[2.0, 1.5], [1.9, -np.inf]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    worth = np.maximum(gain, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    kept = worth[rows, columns] > 0
    return rows[kept], columns[kept]
