"""A variational autoencoder that superimposes several defects by summing latent vectors.

Malyshev et al., GraphiCon 2021: a variational autoencoder for images of surface defects. Network:
the example "Variational AutoEncoder" of keras.io (F. Chollet, 2020).

An encoder turns a grey image of a defect into mean and variance of a normal distribution over a
plane, a sample of it goes through a decoder, and the image comes back. A grid of points of the
plane, decoded, shows what lies between the images. The sum of the vectors of several images,
decoded, is meant to show all their defects in one superimposed image.

Inputs: image (B, H, W, C) float32 in [0, 1], H and W as in the config, C = 1 or 3.
Outputs: z_mean, z_log_var, z (B, D) and reconstruction (B, H, W, C) float32 in [0, 1]. The
SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- It does not state the size of its images; here 64x64. Its 80 images of cracks are private.
- Two forms of the loss were in use in its year. `paper` sums the KL divergence over the latent
  units; `kl_reduction="mean"` is the older form.
- `few` is section 4, a few images copied 500 times: copies are visits of the same image, and
  every minibatch holds every image.
- Run literally, the recipe often ends with dead ReLU units and one image for every point, and a
  sum of latent vectors does not show its sources. `robust` and `robust_few` are ours. Their latent
  units belong to patches of the image and start as a cosine transform, which keeps images apart
  from the first step; sums of latent vectors are trained to decode to the superimposed image;
  and they superimpose by decoding each image and putting the defects together
  (`overlay="maximum"`), so that none is lost in another's grain. `overlay="sum"` is the trained
  sum.

Example:
    >>> import dentalzoo as dz
    >>> vae = dz.train("defect_overlay_vae", data="surfaces", out="runs/vae", variant="robust")
    >>> both = vae.overlay(np.stack([crack, pore]), np.ones(2, "float32"))["image"]
"""

from dentalzoo.models.defect_overlay_vae.about import ABOUT as ABOUT
from dentalzoo.models.defect_overlay_vae.about import PRETRAINED as PRETRAINED
from dentalzoo.models.defect_overlay_vae.config import VARIANTS as VARIANTS
from dentalzoo.models.defect_overlay_vae.config import Config as Config
from dentalzoo.models.defect_overlay_vae.dataset import example_batch as example_batch
from dentalzoo.models.defect_overlay_vae.dataset import make_dataset as make_dataset
from dentalzoo.models.defect_overlay_vae.network import build_model as build_model
from dentalzoo.models.defect_overlay_vae.network import callbacks as callbacks
from dentalzoo.models.defect_overlay_vae.network import compile_model as compile_model
from dentalzoo.models.defect_overlay_vae.network import feature_maps as feature_maps
from dentalzoo.models.defect_overlay_vae.serving import signatures as signatures
