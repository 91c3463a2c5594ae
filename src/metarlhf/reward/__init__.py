"""Rewards learned from answers: networks, losses, and beliefs about what a person wants."""

from metarlhf.reward.belief import Belief as Belief
from metarlhf.reward.belief import LearnedReward as LearnedReward
from metarlhf.reward.belief import wrong_answers as wrong_answers
from metarlhf.reward.config import ROBUST as ROBUST
from metarlhf.reward.config import EnsembleConfig as EnsembleConfig
from metarlhf.reward.ensemble import Ensemble as Ensemble
from metarlhf.reward.gradient import GradientReward as GradientReward
from metarlhf.reward.latent import LatentPosterior as LatentPosterior
from metarlhf.reward.latent import LatentReward as LatentReward
from metarlhf.reward.latent import RefinedPosterior as RefinedPosterior
from metarlhf.reward.likelihood import Guesses as Guesses
from metarlhf.reward.published import Learned as Learned
from metarlhf.reward.published import load_reward as load_reward
from metarlhf.reward.published import publish_reward as publish_reward
