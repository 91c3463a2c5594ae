"""What there is to read stays little: the counts of `python -m benchmarks house`.

The bounds are what was reached; a change that needs more of them says why.
"""

import pytest

from benchmarks.harness import ROOT
from benchmarks.rows import house
from metarlhf.cli.main import COMMANDS, main

FILES, LINES, PLACES, OPTIONS = 210, 30_500, 80, 104


def test_files_and_lines_are_few():
    paths = list(house.files(ROOT))
    assert len(paths) <= FILES
    assert sum(len(path.read_bytes().splitlines()) for path in paths) <= LINES


def test_few_places_ask_which_kind_they_have():
    places = list(house.asked(ROOT))
    assert len(places) <= PLACES, "\n".join(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_few_options(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert 0 < len(house.options(capsys.readouterr().out)) <= OPTIONS


def test_what_asks_is_seen_and_what_does_not_is_not(tmp_path):
    module = tmp_path / "src/metarlhf/cli/some.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "if isinstance(prior, GradientPrior) and is_host(name): pass\n"
        "x = 1 if options.env is None else 2\n"
        "y = not env\n"
        "z = sampler.pure\n"
        "other = isinstance(x, Box) or options.environment or env.horizon is None\n"
    )
    found = [place.split(": ", 1)[1] for place in house.asked(tmp_path)]
    assert sorted(found) == [
        "env",
        "is_host(name)",
        "isinstance(prior, GradientPrior)",
        "options.env is None",
        "sampler.pure",
    ]
    registry = tmp_path / "src/metarlhf/envs/registry.py"
    registry.parent.mkdir()
    module.rename(registry)
    assert not list(house.asked(tmp_path))
