"""Configs: what is refused, and in which words."""

import doctest

import pytest

from kintrack import config_base
from kintrack.config import EncoderConfig, ModelConfig, TrackerConfig, TrainConfig, parse_overrides
from kintrack.errors import ConfigError
from kintrack.follow import TrackConfig


def test_doctests():
    found = doctest.testmod(config_base)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("given", ["general", 3, [("max_gap", 5)]])
def test_what_is_no_mapping_is_no_config(given):
    with pytest.raises(ConfigError, match=r"is no config; wanted a TrackerConfig, a mapping of its options, or None"):
        TrackerConfig.of(given)


def test_a_width_that_cannot_be_normed_in_four_groups_is_refused():
    with pytest.raises(ConfigError, match="option 'width' is 6: input should be a multiple of 4"):
        EncoderConfig.of({"width": 6})


def test_options_that_do_not_fit_each_other_are_told_in_one_sentence():
    with pytest.raises(ConfigError, match="^dim 10 cannot be divided among 4 heads; take a multiple$"):
        ModelConfig.of({"dim": 10})
    with pytest.raises(ConfigError, match="^model: unknown feature 'gapp': did you mean 'gap'"):
        TrainConfig.of({"model": {"pair_features": ["gapp"]}})


def test_an_override_that_contradicts_another_is_refused():
    with pytest.raises(ConfigError, match=r"--set 'tracker\.max_gap=5' goes on from 'tracker', which .* made 3"):
        parse_overrides(["tracker=3", "tracker.max_gap=5"])


def test_an_override_that_is_no_yaml_is_named():
    with pytest.raises(ConfigError, match=r"--set 'tracker\.max_gap=\[1' holds no YAML value; quote what is text"):
        parse_overrides(["tracker.max_gap=[1"])


def test_a_config_of_something_else_is_told_in_few_words():
    with pytest.raises(ConfigError, match=r"is this the config of something else\?$") as told:
        TrackConfig.of(TrainConfig().to_dict())
    assert len(str(told.value)) < 600
