"""Reinforcement learning from human feedback: collect, ask, adapt the reward, PPO; again."""

from metarlhf.rlhf.config import CloningConfig as CloningConfig
from metarlhf.rlhf.config import NeverConfig as NeverConfig
from metarlhf.rlhf.config import RLHFConfig as RLHFConfig
from metarlhf.rlhf.config import WatchConfig as WatchConfig
from metarlhf.rlhf.demonstrations import clone as clone
from metarlhf.rlhf.final import finish as finish
from metarlhf.rlhf.final import stage as stage
from metarlhf.rlhf.final import stages as stages
from metarlhf.rlhf.final import training as training
from metarlhf.rlhf.loop import RLHFState as RLHFState
from metarlhf.rlhf.loop import held_metrics as held_metrics
from metarlhf.rlhf.loop import learned as learned
from metarlhf.rlhf.loop import practise as practise
from metarlhf.rlhf.loop import restart as restart
from metarlhf.rlhf.loop import run_round as run_round
from metarlhf.rlhf.start import from_scratch as from_scratch
from metarlhf.rlhf.start import start as start
