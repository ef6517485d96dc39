"""dentalzoo: published models for dental imaging, rebuilt in Keras and TensorFlow.

Importing it imports neither TensorFlow nor NumPy: each function imports what it needs.
"""

from dentalzoo.api import augment_dataset as augment_dataset
from dentalzoo.api import compare as compare
from dentalzoo.api import evaluate as evaluate
from dentalzoo.api import generate as generate
from dentalzoo.api import predict as predict
from dentalzoo.api import save_metrics as save_metrics
from dentalzoo.api import superimpose as superimpose
from dentalzoo.bundle import Bundle as Bundle
from dentalzoo.bundle import export as export
from dentalzoo.bundle import load as load
from dentalzoo.bundle import push as push
from dentalzoo.bundle import verify as verify
from dentalzoo.charting import chart as chart
from dentalzoo.charting import compare_charts as compare_charts
from dentalzoo.errors import BadFile as BadFile
from dentalzoo.errors import DentalzooError as DentalzooError
from dentalzoo.registry import build as build
from dentalzoo.registry import configure as configure
from dentalzoo.registry import info as info
from dentalzoo.registry import list_models as list_models
from dentalzoo.training import train as train

__version__ = "0.1.0"
