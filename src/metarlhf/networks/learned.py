"""What can be meta-learned of how PPO learns: the optimiser, or the drift. Both on disk."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax

from metarlhf import files
from metarlhf.networks.learned_drift import DriftShape, LearnedDrift
from metarlhf.networks.learned_optimiser import LearnedOptimiser, OptimiserShape

Learned = LearnedOptimiser | LearnedDrift


class Kind(NamedTuple):
    """How one of them is made and named."""

    network: type[LearnedOptimiser] | type[LearnedDrift]
    shape: Callable[..., Any]
    word: str


KINDS = {
    "metarlhf optimiser": Kind(LearnedOptimiser, OptimiserShape, "optimiser"),
    "metarlhf drift": Kind(LearnedDrift, DriftShape, "drift"),
}


# What comes with this program, by name.
SHIPPED = {"shipped:optimiser": Path(__file__).parent / "pretrained" / "optimiser"}


def publish_learned(
    folder: Path | str, network: Learned, about: dict[str, Any] | None = None
) -> Path:
    """Write `network` into `folder`; `about` (configuration, figures) goes into its description."""
    kind = next(name for name, kind in KINDS.items() if isinstance(network, kind.network))
    description = {"kind": kind, "shape": asdict(network.shape), "about": about or {}}
    return files.publish(Path(folder), network, description)


def learned_folder(name: Path | str) -> Path:
    """Where what is called `name` is: a folder, unless it comes with this program.

    Raises:
        files.PublishedFileError: it says that it does, and does not.
    """
    if str(name).startswith("shipped:") and str(name) not in SHIPPED:
        raise files.PublishedFileError(f"there is no {name}: only {', '.join(SHIPPED)}")
    return SHIPPED.get(str(name), Path(name))


def load_learned(folder: Path | str) -> Learned:
    """Read what `publish_learned` wrote, or what comes with this program: shipped:optimiser.

    Raises:
        files.PublishedFileError: there is none, or it is damaged, changed or of another version.
    """
    folder = learned_folder(folder)
    found = files.kind(folder)
    if found is not None and found not in KINDS:
        raise files.PublishedFileError(
            f"{folder} holds a {found}, neither an optimiser nor a drift: `metarlhf search` "
            "makes either"
        )
    kind = found or "metarlhf optimiser"
    description = files.describe(folder, kind)  # which says what is wrong where there is no kind
    network, shape_of, word = KINDS[kind]
    shape = files.shape_in(folder, description, shape_of, word)
    like = jax.eval_shape(lambda: network(shape, key=jax.random.key(0)))
    return files.read(folder, like, description)
