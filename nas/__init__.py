"""Everything that runs: search, training, costs, latency, store, export, command line."""
