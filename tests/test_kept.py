"""Which edits of the code leave what a benchmark kept valid, and which do not."""

import re
import shutil

import numpy as np
import pytest

from benchmarks import code, few_shot, kept
from benchmarks.rows import ppo_minatar, teachers
from metarlhf.ppo import PPOConfig

MADE_BY = {
    "ppo": [ppo_minatar.train],
    "teachers": [teachers.taught],
    "prior": [few_shot.prior_of],
}
ALL = set(MADE_BY)


def keys(root):
    """Of what PPO learns, of what teachers teach, and of a prior."""
    here = code.Code(root)
    return {
        name: kept.path_of(name, "x", PPOConfig(), made_by=made_by, code=here)
        for name, made_by in MADE_BY.items()
    }


@pytest.fixture(scope="module")
def before():
    return keys(code.ROOT)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the code that may be edited."""
    skip = shutil.ignore_patterns("__pycache__", "*.json", "*.safetensors")
    for folder in ("src", "benchmarks"):
        shutil.copytree(code.ROOT / folder, tmp_path / folder, ignore=skip)
    return tmp_path


def changed(root, before):
    return {name for name, path in keys(root).items() if path != before[name]}


def test_words_annotations_and_messages_keep_everything(checkout, before):
    for path in (checkout / "src").rglob("*.py"):
        text = path.read_text()
        text = re.sub(r'^((?:    )*)"""(?=\w)', r'\1"""Once more: ', text, flags=re.MULTILINE)
        path.write_text(re.sub(r"^(\s+raise \w+\()(f?\")", r"\1\2Oh: ", text, flags=re.MULTILINE))
    annotated = r"^def (\w+)\(([^)]*)\) -> [^:]+:$"
    for path in (checkout / "src/metarlhf/ppo").rglob("*.py"):
        text = re.sub(annotated, r"# Elsewhere.\ndef \1(\2):", path.read_text(), flags=re.MULTILINE)
        path.write_text(text)
    assert not changed(checkout, before)


def test_rooms_that_compute_nothing_keep_everything(checkout, before):
    for room in ("report", "explain", "teach", "cli"):
        for path in (checkout / "src/metarlhf" / room).rglob("*.py"):
            path.write_text(path.read_text() + "\n\ndef added():\n    return 1\n")
            path.write_text(re.sub(r"\b5\b", "6", path.read_text()))
    assert not changed(checkout, before)


def test_a_file_that_moves_and_is_split_keeps_everything(checkout, before):
    library = checkout / "src/metarlhf"
    # The function has another name, too.
    (home,) = (path for path in library.rglob("*.py") if "\ndef gae(" in path.read_text())
    module = ".".join(home.relative_to(checkout / "src").with_suffix("").parts)
    home.write_text(re.sub(r"\bgae\(", "estimate(", home.read_text()))
    home = home.rename(home.with_name("advantages_moved.py"))
    moved = ".".join(home.relative_to(checkout / "src").with_suffix("").parts)
    relative = rf"from \.{module.rpartition('.')[2]}\b"
    for path in [*checkout.rglob("*.py"), *checkout.rglob("*.pyi")]:
        text = re.sub(rf"{re.escape(module)}\b", moved, path.read_text())
        if path.parent == home.parent:
            text = re.sub(relative, "from .advantages_moved", text)
        imported = r"(from [\w.]*advantages_moved import [^\n]*?\b)gae\b(?: as gae)?"
        path.write_text(re.sub(imported, r"\1estimate as gae", text))
    assert not changed(checkout, before)


def test_files_that_are_merged_keep_everything(checkout, before):
    library = checkout / "src/metarlhf"
    (library / "types.py").write_text(
        (library / "statistics.py").read_text() + (library / "types.py").read_text()
    )
    (library / "statistics.py").unlink()
    for path in checkout.rglob("*.py"):
        path.write_text(re.sub(r"metarlhf\.statistics\b", "metarlhf.types", path.read_text()))
    assert not changed(checkout, before)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1.0 - clip, 1.0", "1.1 - clip, 1.0", ALL),
        ("max_speed = 0.1", "max_speed = 0.2", ALL),
        # A prior adapts by RLHF, and so hangs on what RLHF hangs on.
        ("state.updates + 1", "state.updates + 2", ALL),
        ("Teacher(mistake=0.1)", "Teacher(mistake=0.2)", {"teachers"}),
        ("difference.shape) < teacher", "difference.shape) <= teacher", {"teachers", "prior"}),
        ("0, config.inner_labels + 1", "0, config.inner_labels", {"prior"}),
        ("state.round + 1", "state.round + 2", {"teachers", "prior"}),
    ],
)
def test_another_constant_or_expression_is_seen_by_who_uses_it(
    checkout, before, old, new, expected
):
    paths = [path for path in (checkout / "src").rglob("*.py") if old in path.read_text()]
    assert paths, f"{old} is nowhere: the test is stale"
    for path in paths:
        path.write_text(path.read_text().replace(old, new))
    assert changed(checkout, before) == expected


def test_two_functions_that_change_places_are_seen(tmp_path):
    (tmp_path / "src/metarlhf").mkdir(parents=True)
    module = tmp_path / "src/metarlhf/__init__.py"

    def digest(text):
        module.write_text(text)
        return code.Code(tmp_path).digest(["metarlhf.run"])

    def both(call):
        return (
            "def up(x):\n    return x + 1\ndef twice(x):\n    return 2 * x\n"
            f"def run(x):\n    return {call}\n"
        )

    assert digest(both("up(twice(x))")) != digest(both("twice(up(x))"))
    assert digest(both("up(x)")) == digest(both("up(x)").replace("up", "more"))


def test_a_name_that_is_nowhere_is_refused(tmp_path):
    (tmp_path / "src/metarlhf").mkdir(parents=True)
    (tmp_path / "src/metarlhf/__init__.py").write_text("import metarlhf\nrun = metarlhf.gone\n")
    with pytest.raises(LookupError, match="defines no gone"):
        code.Code(tmp_path).digest(["metarlhf.run"])


def test_what_it_is_made_with_is_in_the_name():
    path = lambda *made_with: kept.path_of("k", "n", *made_with, made_by=[])
    assert path(PPOConfig()) == path(PPOConfig())
    assert path(PPOConfig(lr=1e-3)) != path(PPOConfig(lr=2e-3))
    assert path(np.zeros(3000)) != path(np.eye(1, 3000, 1500)[0])


def test_every_row_that_keeps_something_finds_its_code():
    """Names are followed through the code as it is: none is missing."""
    found = code.Code()
    for path in sorted((code.ROOT / "benchmarks").rglob("*.py")):
        if "path_of(" in path.read_text() and path.name != "kept.py":
            name = ".".join(path.relative_to(code.ROOT).with_suffix("").parts)
            found.digest([name])
