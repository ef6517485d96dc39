"""Citation, inputs, outputs and use of tooth_vae, and its released weights."""

from dentalzoo.contracts import About, Weights

ABOUT: About = {
    "paper": "Variational Autoencoder in tooth image generation (known by its title)",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size; a photograph or radiograph of a tooth",
    "outputs": "z_mean, z_log_var: float32 (B, D); image: float32 (B, H, W, C) in [0, 1]",
    "intended_use": "Research, teaching and test images. Not a medical device, not for "
    "diagnosis; a generated tooth is nobody's.",
}

PRETRAINED = {
    "drawn_teeth_v2": Weights(  # ships with the repository
        metrics={"psnr": 29.76, "kid": 0.521},  # over the 1,200 held-out photographs
        data="10,800 synthetic photographs of teeth",
        licence="Apache-2.0",
        command="see docs/models/tooth_vae.md",
    ),
    "dentalai_teeth_v1": Weights(
        metrics={"psnr": 25.58, "kid": 2.872},  # over 300 photographs that chose nothing
        data="dentalai_teeth: 1,341 photographs of single teeth, after the synthetic ones",
        licence="CC-BY-4.0",
        command="see docs/models/tooth_vae.md",
    ),
}
