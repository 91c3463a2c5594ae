"""No name is used that nothing defines: the linter's own check cannot tell jaxtyping's shapes."""

import json
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent


def undefined(folder):
    """Names that ruff finds undefined, but for those within strings, which are shapes."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    command += ["--output-format", "json", "--exit-zero", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for one in json.loads(told):
        path, place = Path(one["filename"]), one["location"]
        with tokenize.open(path) as file:
            tokens = list(tokenize.generate_tokens(file.readline))
        at = (place["row"], place["column"] - 1)
        if not any(t.type == tokenize.STRING and t.start <= at < t.end for t in tokens):
            yield f"{path.name}:{place['row']}: {one['message']}"


def test_every_name_is_defined(tmp_path):
    for folder in ("src", "benchmarks", "tests"):
        assert list(undefined(ROOT / folder)) == []
    odd = tmp_path / "odd.py"
    odd.write_text('def waits(x: Float[Array, "row time"]):\n    time.sleep(1)\n')
    found = sorted(undefined(odd))
    assert [line.rsplit(" ", 1)[-1] for line in found] == ["`Array`", "`Float`", "`time`"]
