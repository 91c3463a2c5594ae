"""What a run has learned about a reward, on disk: safetensors, and JSON that says of what kind."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from metarlhf import files
from metarlhf.envs.base import Shown, ShownEnv, TaskFamily
from metarlhf.envs.registry import make_family
from metarlhf.envs.spaces import Box, Discrete
from metarlhf.errors import PublishedFileError
from metarlhf.feedback import blank, empty
from metarlhf.reward.belief import Belief
from metarlhf.reward.config import CostConfig, EnsembleConfig
from metarlhf.reward.cost import CostModel
from metarlhf.reward.ensemble import Ensemble
from metarlhf.reward.gradient import GradientReward
from metarlhf.reward.latent import LatentPosterior, LatentReward
from metarlhf.reward.likelihood import Guesses
from metarlhf.reward.networks import RewardNetwork
from metarlhf.types import Feedback, Segment

KIND = "metarlhf learned reward"


class Learned(eqx.Module):
    """A belief before and after it was taught, and what it was taught with."""

    before: Belief
    """Before the first answer."""
    after: Belief
    feedback: Feedback
    """All answers; rows of weight 0 hold none."""
    seen: Segment
    """Clips that could be asked about in the end: where the reward has been looked at."""
    shown: Shown = eqx.field(static=True)
    """The task family, or a simulator as people were shown it."""
    annotators: tuple[str, ...] = eqx.field(static=True, default=())
    """Who answered, by number; empty where nobody has a name."""
    cost: CostModel | None = None
    """What must never be, where somebody marked that."""


@dataclass(frozen=True)
class LatentShape:
    """What has to be known to read a posterior's arrays back."""

    particles: int
    latent_size: int
    num_features: int
    hidden: tuple[int, ...]
    expected_guesses: float
    guess_answers: float | None

    @staticmethod
    def of(belief: LatentPosterior) -> "LatentShape":
        """That of `belief`."""
        count, size = belief.particles.shape
        *hidden, outputs = (bias.shape[0] for bias in belief.model.decoder.biases)
        guesses = belief.guesses
        return LatentShape(count, size, outputs, tuple(hidden), guesses.expected, guesses.answers)

    def blank(self, family: TaskFamily) -> LatentPosterior:
        """A posterior of this shape."""
        model = LatentReward(
            family,
            key=jax.random.key(0),
            latent_size=self.latent_size,
            num_features=self.num_features,
            hidden=self.hidden,
        )
        particles = jnp.zeros((self.particles, self.latent_size))
        guesses = Guesses(self.expected_guesses, self.guess_answers)
        return LatentPosterior(model, particles, jnp.zeros(self.particles), guesses)


@dataclass(frozen=True)
class GradientShape:
    """What has to be known to read back networks that gradient steps have adapted."""

    members: int
    hidden: tuple[int, ...]
    steps: int

    @staticmethod
    def of(belief: GradientReward) -> "GradientShape":
        """That of `belief`."""
        network = belief.initial.network
        assert isinstance(network, RewardNetwork)
        *hidden, _ = (bias.shape[-1] for bias in network.network.biases)
        members, steps = belief.log_step_sizes.log_sharpness.shape
        return GradientShape(members, tuple(hidden), steps)

    def blank(self, family: TaskFamily) -> GradientReward:
        """Networks of this shape."""
        return GradientReward.create(jax.random.key(0), family, **asdict(self))


class Kind(NamedTuple):
    """How one kind of belief is described, and made again from its description."""

    belief: type
    shape_of: Callable[[Any], Any]
    shape: Callable[..., Any]
    blank: Callable[[Any, Any], Belief]


KINDS = {
    "ensemble": Kind(
        Ensemble,
        lambda belief: belief.config,
        EnsembleConfig,
        lambda config, family: Ensemble.create(jax.random.key(0), family, config),
    ),
    "posterior": Kind(LatentPosterior, LatentShape.of, LatentShape, LatentShape.blank),
    "gradient": Kind(GradientReward, GradientShape.of, GradientShape, GradientShape.blank),
}


def publish_reward(folder: Path | str, learned: Learned) -> Path:
    """Write what was learned into `folder`.

    Raises:
        ValueError: a belief of a kind that is not in `KINDS`.
    """
    names = [name for name, kind in KINDS.items() if type(learned.after) is kind.belief]
    if not names:
        raise ValueError(
            f"a {type(learned.after).__name__} cannot be published: expected one of "
            f"{', '.join(kind.belief.__name__ for kind in KINDS.values())}; add yours to "
            "metarlhf.reward.published.KINDS"
        )
    comparisons, ratings = learned.feedback.comparisons, learned.feedback.ratings
    description = {
        "kind": KIND,
        **_described(learned.shown),
        "belief": names[0],
        "shape": asdict(KINDS[names[0]].shape_of(learned.after)),
        "comparisons": comparisons.weight.shape[0],
        "ratings": ratings.weight.shape[0],
        "seen": learned.seen.obs.shape[0],
        "annotators": list(learned.annotators),
        "cost": None if learned.cost is None else asdict(learned.cost.config),
    }
    return files.publish(Path(folder), learned, description)


def load_reward(folder: Path | str) -> Learned:
    """Read what `publish_reward` wrote.

    Raises:
        PublishedFileError: there is nothing, or it is damaged, changed or of another version.
        UnknownTaskError: it is of a family that `envs.make` does not know.
    """
    folder = Path(folder)
    description = files.describe(folder, KIND)
    shown = _shown_in(folder, description)
    kind = KINDS.get(str(description.get("belief")))
    counts = [description.get(name) for name in ("comparisons", "ratings", "seen")]
    if kind is None or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise PublishedFileError(
            f"{folder / files.DESCRIPTION} does not say what was learned: it was changed, or "
            "another release wrote it. Make it anew"
        )
    shape = files.shape_in(folder, description, kind.shape, "reward")
    cost = description.get("cost")
    if cost is not None:
        cost = files.shape_in(folder, {"shape": cost}, CostConfig, "cost model")
    comparisons, ratings, seen = (int(count or 0) for count in counts)

    def made() -> Learned:
        belief, clips = kind.blank(shape, shown), blank(shown, seen)
        feedback = empty(blank(shown, 1)[0], comparisons, ratings)
        people = tuple(map(str, description.get("annotators", ())))
        forbids = None if cost is None else CostModel.create(jax.random.key(0), shown, cost)
        return Learned(belief, belief, feedback, clips, shown, people, forbids)

    return files.read(folder, jax.eval_shape(made), description)


def _described(shown: Shown) -> dict[str, Any]:
    """What finds it again: a family by its name, a simulator by what it was like."""
    if isinstance(shown, TaskFamily):
        return {"family": shown.name}
    sees, does = shown.observation_space, shown.action_space
    spaces = {"sees": _plain(sees), "does": _plain(does)}
    return {"simulator": {"name": shown.name, "segment_length": shown.segment_length, **spaces}}


def _shown_in(folder: Path, description: dict[str, Any]) -> Shown:
    """What `_described` said.

    Raises:
        PublishedFileError, UnknownTaskError: that is nothing.
    """
    if "family" in description:
        return make_family(str(description["family"]))
    try:
        told = description["simulator"]
        sees, does = _space(told["sees"]), _space(told["does"])
        space = Box(**does) if "low" in does else Discrete(**does)
        return ShownEnv(str(told["name"]), Box(**sees), space, int(told["segment_length"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PublishedFileError(
            f"{folder / files.DESCRIPTION} does not say where it was learned ({error}): it was "
            "changed, or another release wrote it. Make it anew"
        ) from error


def _plain(space: Box | Discrete) -> dict[str, Any]:
    """A space's fields; bounds as words, as JSON has none for what is infinite."""
    fields = space._asdict()
    words = lambda bound: [*map(repr, bound)] if isinstance(bound, tuple) else repr(bound)
    return {n: words(v) if n in ("low", "high") else v for n, v in fields.items()}


def _space(plain: dict[str, Any]) -> dict[str, Any]:
    """The fields again, with the tuples that JSON has none of either."""
    fields = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
    number = lambda bound: tuple(map(float, bound)) if isinstance(bound, tuple) else float(bound)
    return {n: number(v) if n in ("low", "high") else v for n, v in fields.items()}
