"""Help: few options, all on demand, with the right defaults, and at once."""

import re
import subprocess
import sys

import pytest

from metarlhf.cli import main
from metarlhf.cli.main import COMMANDS

MOST = 25


def helped(capsys, *words):
    """What help says: all of it, and how many options it has."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0
    told = capsys.readouterr().out
    return told, len(re.findall(r"^\W (?:-\w, )?--\w|^\W \[", told, re.MULTILINE))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_the_few_options_that_people_change_and_help_all_all(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    few, shown = helped(capsys, command, "--help")
    everything, known = helped(capsys, command, "--help-all")
    assert 3 <= shown <= MOST
    assert shown <= known
    lines = [one for one in few.splitlines() if not one.startswith("usage: ")]
    assert max(map(len, lines)) <= 80  # tyro wraps no usage
    assert "--json" in everything


def test_help_of_a_prior_or_a_simulator_has_its_options_and_defaults(capsys, prior):
    assert "--labels INT" in helped(capsys, "adapt", str(prior), "--help")[0]
    assert "--steps" not in helped(capsys, "adapt", str(prior), "--help")[0]
    assert "--policy.inner-lr" in helped(capsys, "meta-train", "--method", "maml", "--help")[0]
    told = helped(capsys, "ppo", "--env", "gymnax:Breakout-MinAtar", "--help")[0]
    assert "0.0025" in told
    assert "0.0025" not in helped(capsys, "ppo", "pendulum", "--help")[0]


def test_options_are_read_before_jax_is_imported():
    program = (
        "import sys\n"
        "from metarlhf.cli.main import main, run\n"
        "sys.argv = ['metarlhf', 'ppo', '--help']\n"
        "try:\n"
        "    run()\n"
        "except SystemExit:\n"
        "    pass\n"
        "for words in (['ppo', '--help'], ['rlhf', 'reacher', '--help-all'], ['ppo', '--lr=-1']):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "print([name for name in ('jax', 'numpy', 'equinox') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "lr must be above 0" in done.stderr
