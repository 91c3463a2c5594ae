"""Who acts: one `Sampler` protocol, for compiled environments and for host simulators.

PPO, RLHF and meta-training take a sampler and do not ask which it is, but for running several
updates in one program where it is `pure`.
"""

from metarlhf.sampling.base import EVALUATION as EVALUATION
from metarlhf.sampling.base import RolloutState as RolloutState
from metarlhf.sampling.base import Sampler as Sampler
from metarlhf.sampling.base import TaskSampler as TaskSampler
from metarlhf.sampling.base import episode_return as episode_return
from metarlhf.sampling.compiled import CompiledSampler as CompiledSampler
from metarlhf.sampling.compiled import CompiledTaskSampler as CompiledTaskSampler
from metarlhf.sampling.host import HostSampler as HostSampler
from metarlhf.sampling.host import HostTaskSampler as HostTaskSampler
from metarlhf.sampling.host import num_simulators as num_simulators
