"""The check of a foreign bundle before a runtime reads it: nothing but known computing.

`saved_model` reads the file and checks the main graph, `functions` the bodies against the list in
`operations`, `loops`, `tensors` and `savers` what needs more than a name, `objects` what is loaded.
`light_files` checks the files of other runtimes, `onnx_files` the graphs of ONNX.
"""

from dentalzoo.bundle.guard.light_files import refuse_unsafe_files as refuse_unsafe_files
from dentalzoo.bundle.guard.saved_model import refuse_unsafe_graph as refuse_unsafe_graph
