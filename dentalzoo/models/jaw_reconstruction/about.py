"""Citation, inputs, outputs and use of jaw_reconstruction, and its released weights."""

from dentalzoo.contracts import About, Weights

ABOUT: About = {
    "paper": "J. Cho, S.-Y. Jeong, E.-J. Bae, S.-Y. Ihm, arXiv:2606.05998, 2026",
    "inputs": "views: uint8 (B, 10, H, W, 1 or 3), any size; an upper jaw from ten cameras at "
    "fixed positions, nine around it and one above; serve_some takes fewer",
    "outputs": "points: float32 (B, N, 3) mm; faces: int32 (B, M, 3) where the decoder has them",
    "intended_use": "Research on the reconstruction of jaws from images. Not a medical device, "
    "not for diagnosis or for the making of appliances.",
}

PRETRAINED = {
    "drawn_scans_v3": Weights(  # ships with the repository
        # means over 40 unseen scans
        metrics={"f_score_at_1_4mm": 0.978, "pred_to_gt_mm": 0.368, "gt_to_pred_mm": 0.414},
        data="drawn_scans: 1,072 synthetic scans of upper jaws, two thirds with crowns sampled "
        "from a statistical shape model",
        licence="Apache-2.0 (synthetic scans), MIT (shape model)",
        command="see docs/models/jaw_reconstruction.md",
    ),
}
