"""How much there is to read, and how long it takes to start: the table of the package's design.

Every figure is printed with the command that gives it; `python -m benchmarks.rows.house --repo
PATH` measures another checkout. Files of a command are those whose functions it calls
(`benchmarks.entered`). Options are those that `--help` lists, `--help` itself not counted; the
figure is that of the command with the most. A place that asks which kind it has is, outside of the
samplers, the registry of environments and the priors (`WHERE_IT_IS_KNOWN`),

- an `isinstance` of a class whose name matches `KINDS`,
- a call of `is_host`,
- `env` or `*.env` compared with None or used as a condition,
- `*.pure` read.

Times are medians of seven processes after one that is not counted, on an idle machine; those of
imports are beyond `import jax`, which is made before.
"""

import argparse
import ast
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import ROOT, Options, Result
from benchmarks.table import describe

ROW = "house"
REPEATS = 7
KINDS = re.compile(r"Prior|Gradient|Host|Compiled|Sampler|Latent|TaskFamily|TestedFamily|TaskedEnv")
WHERE_IT_IS_KNOWN = (
    "sampling", "rollout.py", "rollout_host.py", "envs/registry.py", "meta/prior.py",
    "meta/priors", "meta/gradient_prior.py", "meta/latent_prior.py",
)  # fmt: skip
IMPORTS = "from metarlhf import envs, ppo"
# Must and aim of each figure.
TARGETS = {
    "files of Python": (160, 130),
    "lines of Python": (26_000, 24_000),
    "files before the first step": (10, 7),
    "files in one update": (8, 5),
    "places that ask which kind": (10, 0),
    "options in --help": (25, 15),
    "metarlhf ppo --help": (1.0, 0.4),
    "metarlhf rlhf --help": (1.0, 0.4),
    "imports of a first PPO script": (0.5, 0.2),
}


def measure(how: Options, repo: Path = ROOT) -> Iterator[Result]:
    """All of the table."""
    paths = list(files(repo))
    yield figure("files of Python", len(paths), "find src/metarlhf -name '*.py' | wc -l")
    yield figure(
        "lines of Python",
        sum(len(path.read_bytes().splitlines()) for path in paths),
        "find src/metarlhf -name '*.py' | xargs cat | wc -l",
    )
    command = "python -m benchmarks.entered ppo navigation"
    found = entered(repo)
    before = {"all": found["before"], "before_networks_are_made": found["setup"]}
    yield figure("files before the first step", len(found["before"]), command, before)
    yield figure("files in one update", len(found["update"]), command, found["update"])
    places = list(asked(repo))
    command = "python -m benchmarks.rows.house --places"
    yield figure("places that ask which kind", len(places), command, places)
    texts = {name: run(repo, "-m", "metarlhf", name, "--help") for name in commands(repo)}
    counts = {name: len(options(text)) for name, text in texts.items()}
    most = max(counts, key=lambda name: counts[name])
    yield figure("options in --help", counts[most], f"metarlhf {most} --help", counts)
    repeats = 1 if how.quick else REPEATS
    for name in ("ppo", "rlhf"):
        times = seconds(repo, ["-m", "metarlhf", name, "--help"], repeats)
        command = f"time python -m metarlhf {name} --help"
        yield figure(f"metarlhf {name} --help", statistics.median(times), command, times, "s")
    jax = seconds(repo, ["-c", "import jax"], repeats)
    code = f"import jax, time; t = time.time(); {IMPORTS}; print(time.time() - t)"
    said = (run(repo, "-c", code) for _ in range(repeats + 1))
    times = [round(float(one), 3) for one in said][1:]
    yield figure(
        "imports of a first PPO script",
        statistics.median(times),
        shlex.join(["python", "-c", code]),
        {
            "each": times,
            "import_jax_alone": statistics.median(jax),
            "import_metarlhf_alone": statistics.median(
                seconds(repo, ["-c", "import metarlhf"], repeats)
            ),
        },
        "s",
    )


def figure(name: str, value: float, command: str, found: object = None, unit: str = "") -> Result:
    """With its targets, and how to get it."""
    must, aim = TARGETS[name]
    details = {"command": command} | ({} if found is None else {"found": found})
    return Result(ROW, name, value, unit=unit, must=must, aim=aim, better="lower", details=details)


def files(repo: Path) -> Iterator[Path]:
    """Of the package, in order."""
    return iter(sorted((repo / "src" / "metarlhf").rglob("*.py")))


def run(repo: Path, *arguments: str) -> str:
    """What Python prints, with that checkout's package."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(repo / "src"), str(ROOT)]),
        "COLUMNS": "100",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=repo
    )
    if done.returncode != 0:
        raise RuntimeError(f"python {shlex.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def entered(repo: Path) -> dict[str, list[str]]:
    """Files that `metarlhf ppo navigation` enters, by when."""
    path = ROOT / "benchmarks" / "entered.py"
    return json.loads(run(repo, str(path), "ppo", "navigation").splitlines()[-1])


def asked(repo: Path) -> Iterator[str]:
    """Places that ask which kind they have, as `file:line: code`."""
    library = repo / "src" / "metarlhf"
    for path in files(repo):
        name = path.relative_to(library).as_posix()
        if not name.startswith(WHERE_IT_IS_KNOWN):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield from (f"{name}:{one.lineno}: {ast.unparse(one)}" for one in _asks(node))


def _asks(node: ast.AST) -> Iterator[ast.expr]:
    """The questions that a node itself asks."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if called == "is_host":
            yield node
        if called == "isinstance" and KINDS.search(ast.unparse(node.args[1])):
            yield node
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
        none = isinstance(node.comparators[0], ast.Constant) and not node.comparators[0].value
        if none and _is_env(node.left):
            yield node
    if isinstance(node, ast.Attribute) and node.attr == "pure" and isinstance(node.ctx, ast.Load):
        yield node
    conditions = []
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        conditions = [node.test]
    elif isinstance(node, ast.BoolOp):
        conditions = node.values
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        conditions = [node.operand]
    yield from (one for one in conditions if _is_env(one))


def _is_env(node: ast.expr) -> bool:
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) == "env"


def commands(repo: Path) -> list[str]:
    """Those that `metarlhf --help` names."""
    return re.findall(
        r"^ {2}([a-z][a-z0-9-]*) {2,}", run(repo, "-m", "metarlhf", "--help"), re.MULTILINE
    )


def options(text: str) -> list[str]:
    """The options that the text of `--help` lists, but for `--help` itself."""
    found = re.findall(r"^[│\s]*(?:-\w, )?(--[a-z][\w.-]*)", text, re.MULTILINE)
    return [option for option in found if option != "--help"]


def seconds(repo: Path, arguments: list[str], repeats: int) -> list[float]:
    """Wall clock of processes, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        run(repo, *arguments)
        times.append(round(time.perf_counter() - begin, 3))
    return times[1:]


def main() -> None:
    """Print the table, each figure with its command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows.house", description=__doc__)
    parser.add_argument("--repo", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--places", action="store_true", help="only the places that ask")
    arguments = parser.parse_args()
    repo = arguments.repo.resolve()
    if arguments.places:
        print("\n".join(asked(repo)))
        return
    for result in measure(Options(), repo):
        print(f"{describe(result.as_json())}\n    {result.details['command']}", flush=True)


if __name__ == "__main__":
    main()
