"""Trainings that begin with the weights of another network.

Who lends to whom: `nearest`, `ancestors`. What is copied: `inherit`, by `counterparts` and
`channels`. What such a training is worth: `lineage`.
"""
