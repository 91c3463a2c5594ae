"""TorchRL's PPO, put together from its parts as its own PPO scripts are.

A collector steps Gymnasium's environments in one process (`SerialEnv`) until a batch is full; its
GAE gives advantages, its clipped loss is minimised over a replay buffer sampled without
replacement. Truncated episodes bootstrap, as there. Nothing is compiled, which is its default.
"""

import math
import time

import torch
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement
from torchrl.envs import DoubleToFloat, GymEnv, SerialEnv, TransformedEnv
from torchrl.modules import (
    IndependentNormal,
    ProbabilisticActor,
    ValueOperator,
)
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from benchmarks.ppo.drivers.perceptron import perceptron
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


class Trainer:
    """Environments, agent, and where they stand."""

    def __init__(self, settings: Settings):
        torch.manual_seed(settings.seed)
        self.settings = settings
        envs = environments(settings)
        self.actor, self.critic = agent(envs, settings)
        self.collector = Collector(
            envs, self.actor, frames_per_batch=settings.batch_size, total_frames=-1
        )
        self.collector.set_seed(settings.seed)
        self.batches = iter(self.collector)
        self.gae = GAE(gamma=settings.gamma, lmbda=settings.gae_lambda, value_network=self.critic)
        self.loss = ClipPPOLoss(
            self.actor, self.critic, clip_epsilon=settings.clip, clip_value=settings.clip,
            entropy_coeff=settings.entropy_coefficient, normalize_advantage=True,
            critic_coeff=0.5 * settings.value_coefficient, loss_critic_type="l2",
        )  # fmt: skip
        self.buffer = ReplayBuffer(
            storage=LazyTensorStorage(settings.batch_size),
            sampler=SamplerWithoutReplacement(),
            batch_size=settings.batch_size // settings.minibatches,
        )
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=settings.lr, eps=1e-5)
        self.steps = self.gradient_steps = 0

    def update(self) -> None:
        """Play, then learn."""
        batch = next(self.batches)
        self.steps += batch.numel()
        with torch.no_grad():
            batch = self.gae(batch)
        self.buffer.empty()
        self.buffer.extend(batch.reshape(-1))
        for _ in range(self.settings.epochs):
            for minibatch in self.buffer:
                self.gradient_step(minibatch)

    def gradient_step(self, minibatch) -> None:
        """One step of Adam."""
        found = self.loss(minibatch)
        loss = found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        self.adam.step()
        self.gradient_steps += 1


def environments(settings: Settings) -> TransformedEnv:
    """Side by side in this process; 32-bit observations."""
    make = lambda: GymEnv(settings.environment, categorical_action_encoding=True)
    return TransformedEnv(SerialEnv(settings.num_envs, make), DoubleToFloat())


def agent(envs: TransformedEnv, settings: Settings) -> tuple[ProbabilisticActor, ValueOperator]:
    """A network for the policy and one for the value function."""
    inputs = math.prod(envs.observation_spec["observation"].shape[1:])
    spec = envs.action_spec_unbatched
    discrete = hasattr(spec.space, "n")
    outputs = int(spec.space.n) if discrete else math.prod(spec.shape)
    layers = perceptron((inputs, *settings.hidden, outputs), final_gain=0.01)
    if not discrete:
        scale = AddStateIndependentNormalScale(outputs, scale_mapping="exp")
        layers = nn.Sequential(layers, scale)
    parameters = ["logits"] if discrete else ["loc", "scale"]
    actor = ProbabilisticActor(
        TensorDictModule(layers, in_keys=["observation"], out_keys=parameters),
        in_keys=parameters, spec=spec, return_log_prob=True,
        distribution_class=Categorical if discrete else IndependentNormal,
    )  # fmt: skip
    value = perceptron((inputs, *settings.hidden, 1), final_gain=1.0)
    return actor, ValueOperator(value, in_keys=["observation"])


def run(settings: Settings) -> Measurement:
    """Time the updates, after one that is not timed."""
    trainer = Trainer(settings)
    trainer.update()
    steps, gradient_steps = trainer.steps, trainer.gradient_steps
    begin = time.perf_counter()
    for _ in range(settings.updates):
        trainer.update()
    seconds = time.perf_counter() - begin
    trainer.collector.shutdown()
    return Measurement(
        steps=trainer.steps - steps,
        seconds=seconds,
        compile_seconds=None,
        gradient_steps=trainer.gradient_steps - gradient_steps,
        parameters=sum(p.numel() for p in trainer.parameters),
        versions=versions("torch", "torchrl", "tensordict", "gymnasium", "numpy")
        | {"torch threads": str(torch.get_num_threads())},
    )


if __name__ == "__main__":
    serve(run)
