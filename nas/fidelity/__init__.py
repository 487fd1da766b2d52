"""Who is stopped early.

The rules are in `rungs`, the rungs of a study in `early_stop`, what those who wait there promise in
`curve_gain`, and the most that a rung could foretell in `ceiling`.
"""
