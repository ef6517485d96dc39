"""dentalzoo: published models for dental imaging, in Keras and TensorFlow."""

__version__ = "0.1.0"
