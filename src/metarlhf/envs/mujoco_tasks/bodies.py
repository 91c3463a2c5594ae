"""The walker and the hopper, which run ahead in bodies that differ: what varies is physics."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

from metarlhf.envs.mujoco_tasks.runners import RENDERING, quietly

Robot = Literal["walker2d", "hopper"]
FRAME_SKIP: dict[str, int] = {"walker2d": 5, "hopper": 4}
# What a task multiplies, by what MuJoCo calls it.
FIELDS = {
    "mass": "body_mass",
    "inertia": "body_inertia",
    "damping": "dof_damping",
    "friction": "geom_friction",
}
CONTROL_COST, BONUS, NOISE, FASTEST = 1e-3, 1.0, 0.005, 10.0


class Body(MujocoEnv):
    """A robot that is told what its body is like: multipliers of the model's numbers."""

    def __init__(self, robot: Robot):
        self.robot = robot
        self.metadata = RENDERING
        with quietly():
            super().__init__(f"{robot}.xml", FRAME_SKIP[robot], observation_space=None)
        self._usual = {name: getattr(self.model, field).copy() for name, field in FIELDS.items()}
        size = self._seen().size
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)

    def set_task(self, task: Any) -> None:
        """Give it this body."""
        for name, field in FIELDS.items():
            getattr(self.model, field)[:] = self._usual[name] * np.asarray(task[name])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        before = self.data.qpos[0]
        self.do_simulation(action, self.frame_skip)
        reward = (self.data.qpos[0] - before) / self.dt + BONUS
        reward -= CONTROL_COST * np.square(action).sum()
        return self._seen(), float(reward), self._fell(), False, {}

    def _fell(self) -> bool:
        height, angle = self.data.qpos[1:3]
        if self.robot == "walker2d":
            return not (0.8 < height < 2.0 and -1.0 < angle < 1.0)
        state = self.state_vector()
        sound = np.isfinite(state).all() and (np.abs(state[2:]) < 100).all()
        return not (sound and height > 0.7 and abs(angle) < 0.2)

    def _seen(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[1:], np.clip(self.data.qvel, -FASTEST, FASTEST)])

    def reset_model(self) -> np.ndarray:
        draw, model = self.np_random, self.model
        self.set_state(
            self.init_qpos + draw.uniform(-NOISE, NOISE, model.nq),
            self.init_qvel + draw.uniform(-NOISE, NOISE, model.nv),
        )
        return self._seen()
