"""Citation, inputs, outputs and use of panoramic_detection, and its released weights."""

from dentalzoo.contracts import About, Weights

ABOUT: About = {
    "paper": "Joudet, Fourcade, Detection of dental treatments on panoramic X-rays, 2018",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size",
    "outputs": "boxes: float32 (B, K, 4) yxyx in [0, 1]; scores: float32 (B, K), falling; classes: "
    "int32 (B, K) from 1; num: int32 (B,), the rows that count",
    "intended_use": "Research. Not a medical device, not for diagnosis.",
}

PRETRAINED = {
    "dental_radiography_v4": Weights(  # ships with the repository
        metrics={"ap50": 0.632, "ap": 0.328},  # over 60 radiographs that chose nothing
        data="dental_radiography: 398 panoramic radiographs with boxes",
        licence="CC-BY-4.0",
        command="see docs/models/panoramic_detection.md",
    ),
    "dentex_fdi_v2": Weights(
        metrics={"ap50": 0.937, "ap": 0.461},  # over 12 radiographs that chose nothing
        data="dentex_fdi: 55 panoramic radiographs with a box and a number for each tooth",
        licence="CC-BY-NC-SA-4.0",
        command="see docs/models/panoramic_detection.md",
    ),
}
