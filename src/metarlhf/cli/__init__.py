"""The commands: `metarlhf demo · tasks · ppo · rlhf · meta-train · adapt · evaluate · play`."""

from metarlhf.cli.main import main as main
from metarlhf.cli.main import run as run
