"""Functions of tensors and arrays that know no paper; each is checked against NumPy or SciPy.

`meshes` is NumPy and SciPy alone; `points` imports TensorFlow.
"""
