"""Functions of arrays and tensors that no paper owns, tested against closed forms and brute force.

`meshes` and `calibration` need only NumPy and SciPy, `scores` only NumPy; `points` imports
TensorFlow.
"""
