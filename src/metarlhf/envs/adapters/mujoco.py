"""The cheetah and the ant, which are to run at a speed, in a direction or to a place.

The walker and the hopper, which run ahead in bodies that differ: what varies is physics.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import mujoco as compiled
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

mujoco: Any = compiled  # which says nothing of its types
Sight = Literal["place", "pose", "velocities", "contacts", "rotation", "mass centre"]
FRAME_SKIP = 5
# What `MujocoEnv` has to be able to say of itself.
RENDERING = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}


@contextmanager
def quietly() -> Iterator[None]:
    """MuJoCo finds something in Gymnasium's models old-fashioned, and says so for each of them."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(
        lambda text: None if "settotalmass" in text else warnings.warn(text, stacklevel=2)
    )
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


@dataclass(frozen=True)
class Rules:
    """What a step pays, what is seen, and when an episode ends."""

    robot: Literal["half_cheetah", "ant"]
    aim: Literal["velocity", "direction", "place"]
    control_cost: float
    """Of the squared norm of an action in [-1, 1]."""
    sees: tuple[Sight, ...]
    contact_cost: float = 0.0
    """Of the squared norm of the contact forces, each cut to [-1, 1]."""
    bonus: float = 0.0
    """What every step pays."""
    healthy: tuple[float, float] | None = None
    """Heights of the torso, in m, beyond which an episode ends; None: it never does."""
    by_mass: bool = False
    """Where the robot is and how fast it goes is asked of its centre of mass, at the end of a step;
    otherwise of its torso, whose speed is how far it came in a step."""
    start_position: Literal["near", "wide"] = "wide"
    """near: joints start within N(0, 0.01) of rest; wide: within U[-0.1, 0.1]. Their speeds start
    within N(0, 0.1) in either."""


class Runner(MujocoEnv):
    """A robot that is told its task: a speed, a direction or a place."""

    def __init__(self, rules: Rules):
        self.rules = rules
        self.task: Any = None
        self.metadata = RENDERING
        with quietly():
            super().__init__(f"{rules.robot}.xml", FRAME_SKIP, observation_space=None)
        self._torso = self.model.body("torso").id
        size = self._seen().size
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)

    def set_task(self, task: Any) -> None:
        """From now on a step pays for this."""
        self.task = np.asarray(task, float)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        rules, before = self.rules, self._place()
        self.do_simulation(action, self.frame_skip)
        if rules.by_mass:  # and of this very moment: stepping leaves what follows a step behind
            mujoco.mj_forward(self.model, self.data)
            mujoco.mj_rnePostConstraint(self.model, self.data)
        place = self._place()
        speed = (place - before) / self.dt
        if rules.by_mass:
            mujoco.mj_subtreeVel(self.model, self.data)
            speed = self.data.subtree_linvel[self._torso][:2]
        reward = self._aimed(place, speed) + rules.bonus
        reward -= rules.control_cost * np.square(action).sum()
        reward -= rules.contact_cost * np.square(self._contacts()).sum()
        return self._seen(), float(reward), self._ended(), False, {}

    def _aimed(self, place: np.ndarray, speed: np.ndarray) -> float:
        match self.rules.aim:
            case "velocity":
                return -abs(speed[0] - self.task)
            case "direction":
                return speed @ self.task
        return -np.abs(place - self.task).sum()

    def _ended(self) -> bool:
        if self.rules.healthy is None:
            return False
        low, high = self.rules.healthy
        return not (np.isfinite(self.state_vector()).all() and low <= self.data.qpos[2] <= high)

    def _place(self) -> np.ndarray:
        if self.rules.by_mass:
            return self.data.subtree_com[self._torso][:2].copy()
        if self.rules.robot == "half_cheetah":
            return np.array([self.data.qpos[0], 0.0])  # it runs in a plane
        return self.data.xpos[self._torso][:2].copy()

    def _contacts(self) -> np.ndarray:
        return np.clip(self.data.cfrc_ext, -1.0, 1.0)

    def _seen(self) -> np.ndarray:
        data, where = self.data, 1 if self.rules.robot == "half_cheetah" else 2
        what = {
            "place": lambda: data.qpos,
            "pose": lambda: data.qpos[where:],
            "velocities": lambda: data.qvel,
            "contacts": self._contacts,
            "rotation": lambda: data.xmat[self._torso],
            "mass centre": lambda: data.subtree_com[self._torso],
        }
        return np.concatenate([what[name]().ravel() for name in self.rules.sees])

    def reset_model(self) -> np.ndarray:
        draw, model = self.np_random, self.model
        near = self.rules.start_position == "near"
        moved = draw.normal(0.0, 0.01, model.nq) if near else draw.uniform(-0.1, 0.1, model.nq)
        self.set_state(
            self.init_qpos + moved, self.init_qvel + 0.1 * draw.standard_normal(model.nv)
        )
        return self._seen()


Robot = Literal["walker2d", "hopper"]
FRAME_SKIPS: dict[str, int] = {"walker2d": 5, "hopper": 4}
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
            super().__init__(f"{robot}.xml", FRAME_SKIPS[robot], observation_space=None)
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
