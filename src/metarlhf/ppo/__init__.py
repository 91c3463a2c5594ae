"""Proximal policy optimisation: collect, estimate advantages, update, until done."""

from metarlhf.ppo.batch import gae as gae
from metarlhf.ppo.config import PPOConfig as PPOConfig
from metarlhf.ppo.seeds import evaluate_seeds as evaluate_seeds
from metarlhf.ppo.seeds import init_seeds as init_seeds
from metarlhf.ppo.seeds import iterate_seeds as iterate_seeds
from metarlhf.ppo.seeds import train_seeds as train_seeds
from metarlhf.ppo.seeds import training_seeds as training_seeds
from metarlhf.ppo.train import TrainState as TrainState
from metarlhf.ppo.train import has_converged as has_converged
from metarlhf.ppo.train import init as init
from metarlhf.ppo.train import iterate as iterate
from metarlhf.ppo.train import iterate_many as iterate_many
from metarlhf.ppo.train import learn as learn
from metarlhf.ppo.train import mean_return as mean_return
from metarlhf.ppo.train import new_agent as new_agent
from metarlhf.ppo.train import play as play
from metarlhf.ppo.train import restart as restart
from metarlhf.ppo.train import skip as skip
from metarlhf.ppo.train import train as train
from metarlhf.ppo.train import training as training
