"""Starts the servers, loads them in turns and prints tables of ratios. `benches/run` prepares and calls it."""
