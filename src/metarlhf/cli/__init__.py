"""The commands, a module for each: `metarlhf demo`, `tasks`, `ppo` and so on."""

from metarlhf.cli.main import main as main
from metarlhf.cli.main import run as run
