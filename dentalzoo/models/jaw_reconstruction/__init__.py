"""An upper jaw in 3-D from ten images of it: MobileNetV2 per view, attention, 50,000 points.

J. Cho, S.-Y. Jeong, E.-J. Bae, S.-Y. Ihm, arXiv:2606.05998, 2026 (English version of a paper of the
Korea Multimedia Society Conference, November 2025). Known here by its abstract alone.

One encoder reads ten views of a jaw, from cameras at fixed positions; attention over the views
makes one code of them, and a decoder makes points of the code. Training is on jaws whose surface is
known, by L1 between points first and by the Chamfer distance then.

Inputs: views (B, 10, S, S, C) float32 in [0, 1], view i of camera i of
`dentalzoo.data.views.cameras`; a view that is missing is black.
Outputs: points (B, N, 3) float32 in the frame of the cameras, 40 mm = 1. The SavedModel takes uint8
views of any size and gives millimetres, see `signatures`.

Differences from the paper:
- What the abstract does not state is ours: cameras, image size, widths, modulator, weights of the
  losses, optimizer; each is marked in `Config`.
- L1 needs to know which point belongs to which. Where the jaws have their vertices in one order
  (`pairs="index"`) points of one index belong together; else (`pairs="nearest"`) each belongs to
  the nearest one, and stage 1 is the Chamfer distance without squares.
- `morphable` is not the paper's: its decoder is a statistical shape model of jaws, so that
  points are spread evenly, the result is a mesh, and the bundle is small.

Example:
    >>> import dentalzoo as dz
    >>> jaw = dz.load("jaw_reconstruction.drawn_scans_v3")
    >>> result = jaw.serve(views)                   # views: uint8 (10, H, W)
    >>> result["points"]                            # (50000, 3) mm
"""

from dentalzoo.models.jaw_reconstruction.about import ABOUT as ABOUT
from dentalzoo.models.jaw_reconstruction.about import PRETRAINED as PRETRAINED
from dentalzoo.models.jaw_reconstruction.config import VARIANTS as VARIANTS
from dentalzoo.models.jaw_reconstruction.config import Config as Config
from dentalzoo.models.jaw_reconstruction.dataset import example_batch as example_batch
from dentalzoo.models.jaw_reconstruction.dataset import make_dataset as make_dataset
from dentalzoo.models.jaw_reconstruction.network import build_model as build_model
from dentalzoo.models.jaw_reconstruction.network import callbacks as callbacks
from dentalzoo.models.jaw_reconstruction.network import compile_model as compile_model
from dentalzoo.models.jaw_reconstruction.network import feature_maps as feature_maps
from dentalzoo.models.jaw_reconstruction.serving import signatures as signatures
