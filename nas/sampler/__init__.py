"""Who proposes points: `known_cost` and what it is made of, `front_mutation`, and all `by_name`.

A sampler knows a `problem` and an Optuna study; it knows neither Ray nor what a training is.
Known-cost: `history` -> `worth` (`surrogate` under a `warp`, `learned` anew now and then) -> `gain`
of candidates from a `pool`, with exact costs from the `cost_book`.
"""
