"""Runs: a directory each, kept whole whatever happens, and continued where they stopped."""

from metarlhf.runs.directory import RunDirectory as RunDirectory
from metarlhf.runs.drive import Interrupted as Interrupted
from metarlhf.runs.drive import drive as drive
from metarlhf.runs.errors import UserError as UserError
from metarlhf.runs.metrics import Logger as Logger
from metarlhf.runs.metrics import TensorBoard as TensorBoard
