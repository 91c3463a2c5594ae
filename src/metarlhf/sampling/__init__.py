"""Who acts: one `Sampler` protocol, for compiled environments and for host simulators.

PPO, RLHF and meta-training take a sampler and do not ask which it is, but for running several
updates in one program where it is `pure`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
