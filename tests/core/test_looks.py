"""How a track has looked so far."""

import numpy as np
import pytest

from kintrack.core.looks import FORGETTING, likeness, mixed_appearance


def features(n, dim=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def walked(sightings):
    """The look of one track after each of its sightings."""
    look, looks = np.zeros((1, sightings.shape[1]), np.float32), []
    for i, sighting in enumerate(sightings):
        look = mixed_appearance(look, sighting[None], np.array([i + 1]))
        looks.append(look[0])
    return np.stack(looks)


def test_the_first_sightings_count_alike():
    seen = features(8)
    assert walked(seen)[-1] == pytest.approx(seen.mean(axis=0), abs=1e-6)


def test_a_track_that_was_seen_often_slowly_forgets():
    seen = features(40)
    looks = walked(seen)
    assert looks[-1] == pytest.approx((1 - FORGETTING) * looks[-2] + FORGETTING * seen[-1], abs=1e-6)


def test_one_bad_sighting_does_not_change_who_it_looks_like():
    me, other = features(2)
    noisy = me + 0.3 * features(12, seed=1)
    noisy[-1] = other  # hidden behind somebody
    look = walked(noisy)[-1:]
    assert likeness(look, me[None])[0] > 0.9 > 0.4 > likeness(look, other[None])[0]
    assert likeness(noisy[-1:], other[None])[0] == pytest.approx(1.0)


def test_the_mean_of_noisy_sightings_is_more_like_the_next_one_than_the_last_is():
    me, noise = features(1), 0.3 * features(200, seed=2)
    seen = me + noise
    looks = walked(seen)
    assert likeness(looks[20:-1], seen[21:]).mean() > likeness(seen[20:-1], seen[21:]).mean() + 0.02


def test_who_is_not_looked_at_keeps_the_look():
    old, none = features(1), np.zeros((1, 16), np.float32)
    assert (mixed_appearance(old, none, np.array([5])) == old).all()
    assert (mixed_appearance(none, old, np.array([5])) == old).all()  # first looked at when seen for the fifth time
    assert (mixed_appearance(none, none, np.array([2])) == 0).all()
    assert likeness(old, none)[0] == 0


def test_tracks_do_not_mix_with_each_other():
    old, new, count = features(5), features(5, seed=1), np.array([2, 3, 5, 9, 100])
    together = mixed_appearance(old, new, count)
    alone = [mixed_appearance(old[i : i + 1], new[i : i + 1], count[i : i + 1])[0] for i in range(5)]
    assert np.array_equal(together, np.stack(alone))
    assert mixed_appearance(old[:0], new[:0], count[:0]).shape == (0, 16)
