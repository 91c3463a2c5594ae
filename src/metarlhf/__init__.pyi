from . import contrib as contrib
from . import envs as envs
from . import errors as errors
from . import explain as explain
from . import feedback as feedback
from . import meta as meta
from . import networks as networks
from . import ppo as ppo
from . import reward as reward
from . import rlhf as rlhf
from . import teach as teach
from .envs.naming import register as register
from .envs.registry import make as make
from .meta.prior import load_prior as load_prior
from .networks.published import load_agent as load_agent

__version__: str
