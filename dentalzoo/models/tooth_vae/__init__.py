"""A variational autoencoder that generates images of teeth.

"Variational Autoencoder in tooth image generation": known by its title and text; authors, journal
and DOI could not be found. Background: Kingma and Welling 2013, arXiv:1312.6114; the
importance-weighted bound, Burda et al. 2015, arXiv:1509.00519.

An encoder turns an image of a tooth into mean and variance of a normal distribution, a sample of
it goes through a decoder, and the image comes back. Both are trained to a bound of the
likelihood of the images. Samples of the standard normal distribution then decode to new teeth.

Inputs: image (B, H, W, C) float32 in [0, 1], H and W as in the config, C = 1 or 3.
Outputs: z_mean, z_log_var, z (B, D) and reconstruction (B, H, W, C) float32 in [0, 1]. The
SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- It states neither network, image size, latent size, loss, optimizer nor epochs. `paper` is the
  convolutional network that the Keras example "Variational AutoEncoder" made common, in colour.
- Its 451 photographs of a hospital are private. Any folder of images will do, and teeth can be
  cut from photographs and radiographs (`crops`).
- `deep` is ours: a deeper network, a likelihood that prices blur higher, and samples of the normal
  distribution that the codes of the training images have in fact (arXiv:1903.12436, section 4),
  not of N(0, I), from which they differ.

Example:
    >>> import dentalzoo as dz
    >>> vae = dz.load("tooth_vae")
    >>> teeth = vae.generate(7, 16)["image"]        # float32 (16, 64, 64, 3)
    >>> z = vae.encode(photo)["z_mean"]             # photo: uint8 (H, W, 3)
"""

from dentalzoo.models.tooth_vae.about import ABOUT as ABOUT
from dentalzoo.models.tooth_vae.about import PRETRAINED as PRETRAINED
from dentalzoo.models.tooth_vae.config import VARIANTS as VARIANTS
from dentalzoo.models.tooth_vae.config import Config as Config
from dentalzoo.models.tooth_vae.dataset import example_batch as example_batch
from dentalzoo.models.tooth_vae.dataset import make_dataset as make_dataset
from dentalzoo.models.tooth_vae.network import build_model as build_model
from dentalzoo.models.tooth_vae.network import callbacks as callbacks
from dentalzoo.models.tooth_vae.network import compile_model as compile_model
from dentalzoo.models.tooth_vae.network import feature_maps as feature_maps
from dentalzoo.models.tooth_vae.serving import signatures as signatures
