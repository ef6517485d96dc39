"""Citation, inputs, outputs and use of panoramic_unet, and its released weights."""

from dentalzoo.contracts import About, Weights

ABOUT: About = {
    "paper": "M. Ali, Dental Panoramic X-Ray Segmentation Using U-Net with VGG-16 Backbone, 2025",
    "inputs": "image: uint8 (B, H, W, 1 or 3), any size; a panoramic X-ray",
    "outputs": "mask: uint8 (B, H, W, 1) class ids, 0 = background; "
    "probabilities: float32 (B, H, W, K)",
    "intended_use": "Research on panoramic X-rays of adults. Not a medical device, not for "
    "diagnosis.",
}

PRETRAINED = {
    "panoramic_teeth_v2": Weights(  # ships with the repository
        metrics={"dice": 0.9305, "iou": 0.8703},  # means over the 15 radiographs of the val split
        data="panoramic_teeth: 70 radiographs of Abdi et al. 2015 with the masks of S. Helli",
        licence="CC-BY-NC-3.0",
        command="see docs/models/panoramic_unet.md",
    ),
}
