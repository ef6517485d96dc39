"""The check of a foreign SavedModel before TensorFlow reads it: nothing but known computing.

`saved_model` reads the file and checks the main graph, `functions` the bodies against the list in
`operations`, `loops`, `tensors` and `savers` what needs more than a name, `objects` what is loaded.
"""

from dentalzoo.bundle.guard.saved_model import refuse_unsafe_graph as refuse_unsafe_graph
