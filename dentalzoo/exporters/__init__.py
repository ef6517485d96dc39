"""Writers of models for a runtime: a module for each export format, listed in one table.

docs/adding_an_export_format.md describes how to add one.
"""

from dentalzoo.contracts import Exporter
from dentalzoo.exporters import litert, litert_int8, onnx, onnx_int8, saved_model, tf_serving

EXPORTERS: dict[str, Exporter] = {
    exporter.NAME: exporter
    for exporter in (saved_model, tf_serving, onnx, onnx_int8, litert, litert_int8)
}
