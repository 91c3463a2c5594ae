"""What MetaRLHF promises, measured: `benchmarks.rows` has a module for each row."""
