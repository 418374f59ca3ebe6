"""What OpenRLHF's own parser and our checks say of the openrlhf section of a config."""

import dataclasses

import pytest

from scope_openrlhf.host.flags import REFUSED, derived_flags, openrlhf_parser, resolve_args
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.flag_ranges import RANGES

CONFIG = Config.load("examples/cpu_tiny.yaml", [])


def with_flags(**flags):
    return dataclasses.replace(CONFIG, openrlhf=CONFIG.openrlhf | {k.replace("__", "."): v for k, v in flags.items()})


def test_every_flag_goes_through_openrlhfs_own_parser_and_checks():
    args = resolve_args(with_flags(ds__overlap_comm=True, actor__adam__betas=[0.8, 0.99]))
    assert args.ds.overlap_comm is True and args.actor.adam.betas == [0.8, 0.99]
    assert args.actor.adam.lr == 2e-4 and args.rollout.n_samples_per_prompt == 8
    assert args.reward.remote_url == ["agent"] and args.critic.model_name_or_path is None


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            {"rollout__batchsize": 3},
            r"unknown key openrlhf.rollout.batchsize; did you mean openrlhf.rollout.batch_size\?",
        ),
        ({"ds__zero_stage": "x"}, "OpenRLHF's parser refuses .*--ds.zero_stage: invalid int value: 'x'"),
        ({"train__partial_rollout_enable": True}, "OpenRLHF refuses .*requires --train.async_enable"),
        ({"train__seed": 3}, "openrlhf.train.seed is set by this plugin; change seed"),
        ({"actor__model_name_or_path": "x"}, "change student.path"),
        ({"actor__dual_clip": 3.0}, "openrlhf.actor.dual_clip has no effect here"),
    ],
)
def test_a_flag_that_openrlhf_or_we_refuse_says_why(flags, message):
    with pytest.raises(ConfigError, match=message):
        resolve_args(with_flags(**flags))


def test_every_number_that_is_passed_on_to_openrlhf_has_a_range_and_its_default_lies_inside():
    numbers = {a.option_strings[0][2:]: a for a in openrlhf_parser()._actions if a.type in (int, float)}
    assert RANGES.keys() == numbers.keys() - REFUSED.keys() - derived_flags(CONFIG).keys()
    for flag, within in RANGES.items():
        default = numbers[flag].default
        for number in default if isinstance(default, list | tuple) else [default]:
            assert number is None or number in within, flag
