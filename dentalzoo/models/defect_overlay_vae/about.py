"""Citation, inputs, outputs and use of defect_overlay_vae, and its released weights."""

from dentalzoo.contracts import About, Weights

ABOUT: About = {
    "paper": "Malyshev et al., variational autoencoder for images of defects, GraphiCon 2021",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size; images of a surface with a defect",
    "outputs": "z_mean, z_log_var, z: float32 (B, D) or (D,); image: float32 (B, H, W, C) or "
    "(H, W, C) in [0, 1]",
    "intended_use": "Research and training images for the inspection of surfaces. A superimposed "
    "image is no evidence of how real defects meet.",
}

PRETRAINED = {
    "drawn_defects_v3": Weights(  # ships with the repository
        metrics={"success": 0.998},  # of 400 superimposed images of 80 others
        data="80 synthetic surfaces with cracks and pores",
        licence="Apache-2.0",
        command="see docs/models/defect_overlay_vae.md",
    ),
}
