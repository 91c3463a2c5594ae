"""How PPO compares with its peers, and with what the machine could do."""
