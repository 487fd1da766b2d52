"""How fast networks are on a device: measured, and predicted for those that were never built.

`measure` and `timing` take the time of a network; `record` those of many and of their `operators`,
from which `fit` makes a `model`. A `calibration` is both as a file, a `forecast` what a study makes
of it. `on_device` and `onnx_probes` do so where this project is not.
"""
