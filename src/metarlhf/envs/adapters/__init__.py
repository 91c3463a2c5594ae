"""Other people's simulators, each imported when it is named."""
