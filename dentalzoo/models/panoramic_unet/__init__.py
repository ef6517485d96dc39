"""U-Net with a VGG-16 encoder: segmentation of panoramic X-rays.

M. Ali, "Dental Panoramic X-Ray Segmentation Using U-Net with VGG-16 Backbone", 2025: an article and
the repository mohamedali020/Dental-Panoramic-X-Ray-Segmentation-Using-U-Net-with-VGG-16-Backbone
(6116112); without DOI. Network: Ronneberger et al. 2015, arXiv:1505.04597, as segmentation-models
1.0.1 builds it.

A convolutional encoder reads the radiograph, a decoder with skip connections gives every pixel a
probability of belonging to the annotated structures. The mask is the probability above 0.5, or the
most probable class where there are several. Training is by Dice loss on images with masks.

Inputs: image (B, H, W, 3) float32 in [0, 1], H and W as in the config.
Outputs: mask (B, H, W, K) float32 probabilities: K = 1 (sigmoid), or K classes (softmax, 0 is
background). The SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- The decoder of the VGG-16 run is not published. `paper` is the U-Net of segmentation-models;
  `wide` is the reconstruction from the same author's VGG-19 repository (@546b3c8), whose parameter
  count it matches: 41,076,929 with VGG-16.
- Article and repository disagree on the loss. The curves of the published run (Dice + loss = 1)
  were made with the Dice loss alone, so that is `paper`'s; `loss="bce_dice"` is the article's text.
- The paper's validation images are augmented like its training images. Here they are not.
- ReduceLROnPlateau watched Dice as if it were to fall; here it knows that Dice is to rise.
- Albumentations 1.1.0's recipe is expressed in 2.0.8 with 1.1.0's borders, noise and scale.

Example:
    >>> import dentalzoo as dz
    >>> model = dz.build("panoramic_unet", "light")
    >>> unet = dz.load("panoramic_unet.panoramic_teeth_v2")
    >>> mask = unet.serve(radiograph)["mask"]             # radiograph: uint8 (H, W)
"""

from dentalzoo.models.panoramic_unet.about import ABOUT as ABOUT
from dentalzoo.models.panoramic_unet.about import PRETRAINED as PRETRAINED
from dentalzoo.models.panoramic_unet.config import VARIANTS as VARIANTS
from dentalzoo.models.panoramic_unet.config import Config as Config
from dentalzoo.models.panoramic_unet.dataset import example_batch as example_batch
from dentalzoo.models.panoramic_unet.dataset import make_dataset as make_dataset
from dentalzoo.models.panoramic_unet.network import build_model as build_model
from dentalzoo.models.panoramic_unet.network import callbacks as callbacks
from dentalzoo.models.panoramic_unet.network import compile_model as compile_model
from dentalzoo.models.panoramic_unet.network import feature_maps as feature_maps
from dentalzoo.models.panoramic_unet.serving import signatures as signatures
