"""The loop of CleanRL's single-file PPO, written anew in PyTorch after its description.

CleanRL is no package to install, so this measures how it works: Gymnasium's `SyncVectorEnv`, stores
of tensors filled step by step, advantages by a loop backwards over the steps, minibatches by a
shuffle of indices. Left out is what only reports (TensorBoard, episode statistics, approximate KL)
and, on continuous tasks, its running normalisation of what is observed and paid. Truncated episodes
count as terminated, as there. See Huang et al. 2022, "The 37 implementation details of proximal
policy optimization".
"""

import math
import time

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from benchmarks.ppo.drivers.perceptron import perceptron
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


class Agent(nn.Module):
    """A network for the policy and one for the value function."""

    def __init__(self, envs: SyncVectorEnv, settings: Settings):
        super().__init__()
        self.discrete = isinstance(envs.single_action_space, gymnasium.spaces.Discrete)
        inputs = math.prod(envs.single_observation_space.shape)
        space = envs.single_action_space
        outputs = int(space.n) if self.discrete else math.prod(space.shape)
        self.policy = perceptron((inputs, *settings.hidden, outputs), final_gain=0.01)
        self.value = perceptron((inputs, *settings.hidden, 1), final_gain=1.0)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(outputs))

    def act(self, obs: torch.Tensor) -> Categorical | Independent:
        """The distribution over actions."""
        out = self.policy(obs)
        if self.discrete:
            return Categorical(logits=out)
        return Independent(Normal(out, self.log_std.exp().expand_as(out)), 1)


class Trainer:
    """Environments, agent, and where they stand."""

    def __init__(self, settings: Settings):
        torch.manual_seed(settings.seed)
        self.random = np.random.default_rng(settings.seed)
        self.settings = settings
        make_env = lambda: gymnasium.make(settings.environment)
        # What follows an episode's end is the first observation of the next, as in older releases.
        self.envs = SyncVectorEnv(
            [make_env] * settings.num_envs, autoreset_mode=AutoresetMode.SAME_STEP
        )
        self.agent = Agent(self.envs, settings)
        self.adam = torch.optim.Adam(self.agent.parameters(), lr=settings.lr, eps=1e-5)
        self.obs = tensor(self.envs.reset(seed=settings.seed)[0])
        self.done = torch.zeros(settings.num_envs)
        self.steps = self.gradient_steps = 0

    def update(self) -> None:
        """Play, then learn."""
        store = self.play()
        advantage = self.advantages(store)
        store["advantage"], store["target"] = advantage, advantage + store["value"]
        self.learn({name: kept.flatten(0, 1) for name, kept in store.items()})

    def store(self) -> dict[str, torch.Tensor]:
        """Room for what is seen, [step, environment, ...]."""
        shape = (self.settings.num_steps, self.settings.num_envs)
        obs_shape = self.envs.single_observation_space.shape
        names = ("log_prob", "value", "reward", "done")
        room = {name: torch.zeros(shape) for name in names}
        return room | {
            "obs": torch.zeros(shape + obs_shape),
            "action": torch.zeros(shape + self.envs.single_action_space.shape),
        }

    @torch.no_grad()
    def play(self) -> dict[str, torch.Tensor]:
        """Step all environments; `done` says whether a step is the first of an episode."""
        store = self.store()
        space = self.envs.single_action_space
        for i in range(self.settings.num_steps):
            policy = self.agent.act(self.obs)
            action = policy.sample()
            store["obs"][i], store["done"][i], store["action"][i] = self.obs, self.done, action
            store["log_prob"][i] = policy.log_prob(action)
            store["value"][i] = self.agent.value(self.obs)[:, 0]
            chosen = action.numpy()
            if not self.agent.discrete:
                chosen = np.clip(chosen, space.low, space.high)
            obs, reward, terminated, truncated, _ = self.envs.step(chosen)
            store["reward"][i] = tensor(reward)
            self.obs, self.done = tensor(obs), tensor(terminated | truncated)
            self.steps += self.settings.num_envs
        return store

    @torch.no_grad()
    def advantages(self, store: dict[str, torch.Tensor]) -> torch.Tensor:
        """Generalised advantage estimation."""
        gamma, decay = self.settings.gamma, self.settings.gamma * self.settings.gae_lambda
        advantage = torch.zeros_like(store["reward"])
        following, goes_on = self.agent.value(self.obs)[:, 0], 1 - self.done
        last = torch.zeros_like(following)
        for i in reversed(range(self.settings.num_steps)):
            delta = store["reward"][i] + gamma * following * goes_on - store["value"][i]
            last = advantage[i] = delta + decay * goes_on * last
            following, goes_on = store["value"][i], 1 - store["done"][i]
        return advantage

    def learn(self, batch: dict[str, torch.Tensor]) -> None:
        """Passes over the batch in shuffled minibatches."""
        order = np.arange(self.settings.batch_size)
        for _ in range(self.settings.epochs):
            self.random.shuffle(order)
            for rows in np.split(order, self.settings.minibatches):
                self.gradient_step({name: kept[rows] for name, kept in batch.items()})

    def gradient_step(self, minibatch: dict[str, torch.Tensor]) -> None:
        """One step of Adam."""
        loss = self.loss(minibatch)
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.agent.parameters(), self.settings.max_grad_norm)
        self.adam.step()
        self.gradient_steps += 1

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Clipped surrogate, clipped value error and entropy."""
        own = self.settings
        policy = self.agent.act(batch["obs"])
        ratio = (policy.log_prob(batch["action"]) - batch["log_prob"]).exp()
        advantage = batch["advantage"]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        held_ratio = ratio.clamp(1 - own.clip, 1 + own.clip)
        surrogate = torch.min(advantage * ratio, advantage * held_ratio).mean()

        value = self.agent.value(batch["obs"])[:, 0]
        held = batch["value"] + (value - batch["value"]).clamp(-own.clip, own.clip)
        errors = torch.max((value - batch["target"]) ** 2, (held - batch["target"]) ** 2)
        entropy = policy.entropy().mean()
        return (
            own.value_coefficient * 0.5 * errors.mean()
            - surrogate
            - own.entropy_coefficient * entropy
        )


def tensor(array: np.ndarray) -> torch.Tensor:
    """As 32-bit numbers."""
    return torch.as_tensor(array, dtype=torch.float32)


def run(settings: Settings) -> Measurement:
    """Time the updates, after one that is not timed."""
    trainer = Trainer(settings)
    trainer.update()
    steps, gradient_steps = trainer.steps, trainer.gradient_steps
    begin = time.perf_counter()
    for _ in range(settings.updates):
        trainer.update()
    seconds = time.perf_counter() - begin
    return Measurement(
        steps=trainer.steps - steps,
        seconds=seconds,
        compile_seconds=None,
        gradient_steps=trainer.gradient_steps - gradient_steps,
        parameters=sum(p.numel() for p in trainer.agent.parameters()),
        versions=versions("torch", "gymnasium", "numpy")
        | {"torch threads": str(torch.get_num_threads())},
    )


if __name__ == "__main__":
    serve(run)
