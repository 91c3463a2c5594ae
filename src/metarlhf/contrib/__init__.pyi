from . import evolution as evolution
from . import rl2 as rl2
from . import search as search
from .config import EvolutionConfig as EvolutionConfig
from .config import ImitationConfig as ImitationConfig
from .config import RL2Config as RL2Config
