"""What a learned reward pays for, where, how sure it is, and why it says so. Pure functions."""

from metarlhf.explain.additive import Additive as Additive
from metarlhf.explain.additive import Shape as Shape
from metarlhf.explain.additive import fit_additive as fit_additive
from metarlhf.explain.additive import read_additive as read_additive
from metarlhf.explain.answers import Answered as Answered
from metarlhf.explain.answers import answered as answered
from metarlhf.explain.attribution import completeness_error as completeness_error
from metarlhf.explain.attribution import integrated_gradients as integrated_gradients
from metarlhf.explain.attribution import permutation_importance as permutation_importance
from metarlhf.explain.distances import dard_form as dard_form
from metarlhf.explain.distances import distance as distance
from metarlhf.explain.distances import epic_form as epic_form
from metarlhf.explain.explanation import ExplainConfig as ExplainConfig
from metarlhf.explain.explanation import Explanation as Explanation
from metarlhf.explain.explanation import Map as Map
from metarlhf.explain.explanation import explain as explain
from metarlhf.explain.landscape import places as places
from metarlhf.explain.landscape import spread as spread
from metarlhf.explain.rewards import BeliefReward as BeliefReward
from metarlhf.explain.rewards import Feature as Feature
from metarlhf.explain.rewards import OfInputs as OfInputs
from metarlhf.explain.rewards import TaskReward as TaskReward
from metarlhf.explain.rewards import features_of as features_of
from metarlhf.explain.rewards import inputs_of as inputs_of
