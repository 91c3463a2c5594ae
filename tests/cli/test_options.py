"""Options: read, laid over presets, written to a file and read again."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from metarlhf.cli.options import EnvironmentOptions, TrainOptions, named
from metarlhf.cli.parsing import as_toml, parse, words_for
from metarlhf.errors import UserError
from metarlhf.ppo import PPOConfig


@dataclass(frozen=True)
class _Command(TrainOptions, EnvironmentOptions):
    """Train something."""

    FEW: ClassVar = ("family", "lr", "oracle.lr")

    config: PPOConfig = field(default_factory=PPOConfig)
    oracle: PPOConfig = field(default_factory=PPOConfig)


def _presets(said):
    where = named(said, "navigation")
    return _Command(**where, config=PPOConfig(gamma=0.5 if where["family"] == "reacher" else 0.9))


def read(*words):
    return parse(_Command, words, "command", _presets)


def test_the_words_for_what_differs_make_it_again():
    usual = PPOConfig(hidden=(8, 8), anneal_lr=True)
    wanted = replace(
        usual, lr=3e-5, hidden=(4, 5, 6), anneal_lr=False, squash=True, objective="kl",
        memory="gru", num_envs=16,
    )  # fmt: skip
    words = words_for(wanted, usual)
    assert parse(PPOConfig, words, "ppo", lambda said: usual) == wanted
    assert words_for(usual, usual) == []
    assert not any("--lr" in word for word in words_for(wanted, usual, without=["lr"]))
    back = words_for(usual, wanted)
    assert parse(PPOConfig, back, "ppo", lambda said: wanted) == usual


def test_what_is_said_is_laid_over_the_presets_of_the_family_wherever_it_stands():
    for words in (["reacher", "--lr", "0.5"], ["--lr=0.5", "reacher"], ["--family=reacher"]):
        options = read(*words)
        assert (options.family, options.config.gamma) == ("reacher", 0.5)
    assert read("--lr", "0.5").config == PPOConfig(gamma=0.9, lr=0.5)
    assert read("--gamma", "0.5").family == "navigation"
    assert read("--env", "Pendulum-v1").family is None


def test_a_file_says_what_options_say_and_they_override_it(tmp_path):
    path = tmp_path / "config.toml"
    wanted = read(
        "reacher", "--vary", "g=1", "--vary", "l=choice(1,2)", "--hidden", "4", "5",
        "--no-anneal-lr", "--oracle.memory", "gru", "--task", "3", "--log", "tensorboard",
    )  # fmt: skip
    path.write_text(as_toml(wanted))
    assert read("--config", str(path)) == wanted
    again = read("--config", str(path), "--lr", "0.25", "--oracle.memory", "None")
    assert again.config == replace(wanted.config, lr=0.25)
    assert again.oracle.memory is None


def test_a_file_s_presets_are_those_of_its_family(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('family = "reacher"\n[oracle]\nlr = 0.5\n')
    options = read("--config", str(path))
    assert (options.config.gamma, options.oracle.lr) == (0.5, 0.5)
    assert read("--config", str(path), "pendulum").config.gamma == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 3", "there is no option learning_rate."),
        ("[oracle]\nlrr = 3", "there is no option oracle.lrr. Did you mean oracle.lr?"),
        ("lr = ", "is no TOML"),
    ],
)
def test_what_a_file_cannot_say_is_refused(tmp_path, text, message):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(UserError, match=r"config\.toml") as error:
        read("--config", str(tmp_path / "config.toml"))
    assert message in str(error.value)
    with pytest.raises(UserError, match="No such file"):
        read("--config", str(tmp_path / "none.toml"))


def test_old_names_are_accepted_with_a_note(capsys):
    options = read("--config.lr", "0.25", "--number=3")
    assert (options.config.lr, options.task) == (0.25, 3)
    note = capsys.readouterr().err
    assert "--config.lr is called --lr now, and so are 1 more renamed" in note
    assert len(note.splitlines()) == 1


@pytest.mark.parametrize("columns", [40, 80])
def test_help_shows_the_few_with_the_family_s_defaults_and_help_all_all(
    capsys, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    told = {}
    for option in ("--help", "-h", "--help-all"):
        with pytest.raises(SystemExit) as ended:
            read("reacher", option)
        assert ended.value.code == 0
        told[option] = capsys.readouterr().out
        lines = [one for one in told[option].splitlines() if not one.startswith("usage: ")]
        assert max(map(len, lines)) <= columns  # tyro wraps no usage
    assert "--oracle.lr" in told["--help"]
    assert "reacher" in told["--help"]
    assert "--gamma" not in told["--help"]
    assert "--gamma" in told["--help-all"]
    assert "default: 0.5" in " ".join(told["--help-all"].replace("│", " ").split())
