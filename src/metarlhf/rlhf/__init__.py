"""Reinforcement learning from human feedback: collect, ask, adapt the reward, PPO; again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
