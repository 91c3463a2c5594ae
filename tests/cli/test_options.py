"""Options as words: read again they are what they were."""

from dataclasses import dataclass, replace

import tyro

from metarlhf.cli.options import flags
from metarlhf.ppo import PPOConfig


@dataclass(frozen=True)
class _Held:
    config: PPOConfig


def test_the_words_for_what_differs_make_it_again():
    usual = PPOConfig(hidden=(8, 8), anneal_lr=True)
    wanted = replace(
        usual, lr=3e-5, hidden=(4, 5, 6), anneal_lr=False, squash=True, objective="kl",
        memory="gru", num_envs=16,
    )  # fmt: skip
    words = flags(wanted, usual, "config")
    assert tyro.cli(_Held, args=words, default=_Held(usual)).config == wanted
    assert flags(usual, usual, "config") == []
    assert "--config.lr" not in flags(wanted, usual, "config", without=["lr"])
    back = flags(usual, wanted, "config")
    assert tyro.cli(_Held, args=back, default=_Held(wanted)).config == usual
