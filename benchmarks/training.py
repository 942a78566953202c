"""Training throughput of the report's net: clearhead against the report's Keras pipeline.

Both train the same net at 256×256, batch 64, from the same folder of JPEG files, on this machine,
one after the other; two epochs are timed after a first (ours decodes once into its cache, Keras
decodes in every epoch, as the report did). Prints images per second, their ratio, and the share of
the machine's float32 matrix-product rate.

    python benchmarks/training.py --folder "data/kaggle/…/Brain Tumor Data Set" --images 640

`--keras-python` names another interpreter that has tensorflow-cpu 2.21 (default: this one).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = 3
FORWARD_GMAC = 0.62
"""Multiply-adds of the report's net per RGB picture, forward, in 1e9."""

KERAS = r"""
import json, sys, time
import pandas as pd
import tensorflow as tf
from tensorflow.keras import layers, models

folder, epochs = sys.argv[1], int(sys.argv[2])
rows = pd.read_csv(folder + "/rows.csv")
generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)
flow = generator.flow_from_dataframe(
    rows, x_col="path", y_col="label", target_size=(256, 256), color_mode="rgb",
    class_mode="categorical", batch_size=64, shuffle=True, verbose=0,
)
net = models.Sequential([
    layers.Input((256, 256, 3)),
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(128, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5),
    layers.Dense(2, activation="softmax"),
])
assert net.count_params() == 14839234
net.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
net.fit(flow, epochs=1, verbose=0)
started = time.perf_counter()
net.fit(flow, epochs=epochs - 1, verbose=0)
seconds = time.perf_counter() - started
print(json.dumps({"images_per_second": len(rows) * (epochs - 1) / seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--keras-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=1, help="repetitions, alternating")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sample(options.folder, folder, options.images)
        gflops = matrix_rate()
        for _ in range(options.rounds):
            theirs = keras(folder, options.keras_python)
            print(f"machine    {gflops:6.1f} GFLOP/s in float32 matrix products")
            print(f"Keras      {theirs:6.1f} images/s in training, float32, decoding included")
            for precision in ("32-true", "bf16-mixed"):
                ours = clearhead(folder, precision)
                share = ours * FORWARD_GMAC * 3 * 2 / gflops
                print(
                    f"clearhead  {ours:6.1f} images/s, {precision}: {ours / theirs:.2f} × Keras, "
                    f"{share:.0%} of the matrix rate (as 3 forward passes in RGB)"
                )


def sample(source: Path, target: Path, count: int) -> None:
    """Copy `count` JPEG files, classes alternating, and list them for Keras."""
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    columns = [sorted(path.glob("*.jpg"))[: count // len(classes)] for path in classes]
    lines = ["path,label"]
    for home, files in zip(classes, columns, strict=True):
        (target / "pictures" / home.name).mkdir(parents=True)
        for file in files:
            copied = target / "pictures" / home.name / file.name
            shutil.copy(file, copied)
            lines.append(f'"{copied}","{home.name}"')
    (target / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def matrix_rate() -> float:
    """Best of several 3000×3000 float32 products, in GFLOP/s."""
    import torch

    one = torch.rand(3000, 3000)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - started)
    return 2 * 27e9 / best / 1e9


def keras(folder: Path, python: str) -> float:
    command = [python, "-c", KERAS, str(folder), str(EPOCHS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the Keras pipeline failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["images_per_second"])


def clearhead(folder: Path, precision: str) -> float:
    import numpy as np

    from clearhead.data.index import index
    from clearhead.model.train import train
    from clearhead.types import Recipe

    manifest = index(folder / "pictures")
    count = len(manifest)
    splits = np.where(np.arange(count) % 40 == 0, "validation", "train").tolist()
    manifest = manifest.with_columns(split=splits)
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    run = train(manifest, Recipe.preset("report", epochs=EPOCHS, precision=precision), out)
    seconds = sum(row["seconds"] for row in run.history()[1:])
    return float(splits.count("train") * (EPOCHS - 1) / seconds)


if __name__ == "__main__":
    main()
