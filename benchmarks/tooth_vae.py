"""Quality of networks, likelihoods and priors of tooth_vae, trained alike on synthetic photographs.

    python benchmarks/tooth_vae.py [--data DIR] [--images N] [--epochs N] [--out DIR]

Each setting is trained on the same images for the same epochs; a finished one is not trained
again. benchmarks/README.md describes the columns.
"""

import argparse
import dataclasses
import logging
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.data.synthetic import write_tooth_photos

SETTINGS = {
    "paper": ("paper", {}),
    "paper, gaussian": ("paper", {"likelihood": "gaussian", "sigma": 0.15}),
    "deep, bernoulli": ("deep", {"likelihood": "bernoulli"}),
    "deep": ("deep", {}),
    "deep, deviation 0.1": ("deep", {"sigma": 0.1}),
    "deep, free bits 0.5": ("deep", {"free_bits": 0.5}),
    "deep, KL warm-up": ("deep", {"warmup_epochs": 1}),
    "deep, 5 samples": ("deep", {"importance_samples": 5}),
}
COLUMNS = ("psnr", "ssim", "kl", "active_units")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images (default: synthetic ones)")
    parser.add_argument("--images", type=int, default=400, help="synthetic images (default 400)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each setting (default 2)")
    parser.add_argument("--count", type=int, default=256, help="samples for KID (default 256)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/tooth_vae"))
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args()
    logging.disable(logging.INFO)
    data = options.data or write_tooth_photos(options.out / "photos", options.images)
    heads = ("setting", *COLUMNS, "KID, N(0, I)", "KID, fitted", "KID, data", "s an epoch")
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for setting in options.only:
        print(f"| {' | '.join([setting, *measure(setting, data, options)])} |", flush=True)


def measure(setting: str, data: Path, options) -> list[str]:
    """Return the row of a setting: a VAE, measured with its fitted prior and with N(0, I)."""
    variant, overrides = SETTINGS[setting]
    folder = options.out / setting.replace(", ", "_").replace(" ", "_")
    overrides = {**overrides, "epochs": options.epochs, "batch_size": 64, "prior": "fitted"}
    config = registry.configure("tooth_vae", variant, **overrides)
    run = dz.train(
        "tooth_vae",
        data,
        folder / "run",
        variant,
        mixed_precision="bfloat16",
        resume=True,
        **overrides,
    )
    scores = {}
    for prior in ("standard", "fitted"):
        made = dz.export(
            run.to_keras(), folder / prior, "tooth_vae", dataclasses.replace(config, prior=prior)
        )
        report = dz.evaluate(
            made, data, split="val", out=folder / f"{prior}_figures", samples=5, count=options.count
        )
        scores[prior] = dz.api.summary_metrics(made, report)
    fitted = scores["fitted"]
    kids = [scores["standard"].get("kid"), fitted.get("kid"), fitted.get("kid_floor")]
    seconds = run.metadata["training"]["seconds"] / options.epochs
    return [
        *(f"{fitted[column]:.4g}" for column in COLUMNS),
        *("-" if kid is None else f"{kid:.3f}" for kid in kids),
        f"{seconds:.1f}",
    ]


if __name__ == "__main__":
    main()
