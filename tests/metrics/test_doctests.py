import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("kintrack.metrics", 8),
        ("kintrack.metrics.mot", 15),
        ("kintrack.metrics.hota", 10),
        ("kintrack.metrics.calibration", 8),
    ],
)
def test_the_hand_computed_numbers_in_docstrings_hold(name, at_least):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
    assert found.attempted >= at_least
