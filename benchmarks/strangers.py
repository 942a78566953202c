"""Collect pictures that are no brain MRI into a folder, for `benchmarks/gate.py --strangers`.

    python benchmarks/strangers.py --out strangers --checkouts FOLDER

Takes what the folder of checkouts holds of these public repositories (`git clone`), and says what
is missing: MohamedBakrAli/Kodak-Lossless-True-Color-Image-Suite (photographs, unrestricted use),
agchung/Figure1-COVID-chestxray-dataset (radiographs, for research), mlmed/torchxrayvision (its test
radiographs), pydicom/pydicom-data and pydicom/pydicom (test files: CT, radiographs, ultrasound,
MRI of shoulder and abdomen), spinalcordtoolbox/sct_testing_data (MRI of the spine, MIT),
niivue/niivue (a macaque's brain, organ labels, perfusion maps, BSD). The sample pictures of
scikit-learn come from the installed package; scikit-image's, where it is installed. Names up to
`--` say which picture a file was cut from. Needs pydicom for the DICOM files. Keep the pictures
out of any repository.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.files import walk

Floats = NDArray[np.float64]
Found = Iterator[tuple[str, str, Floats]]
"""Set, name and grey picture."""

CROPS = 4
"""Pictures cut from a photograph, besides the whole."""

PHOTOGRAPHS = (
    "astronaut", "camera", "chelsea", "coffee", "coins", "clock_motion", "moon", "motorcycle_left",
    "rocket",
)  # fmt: skip
SAMPLES = {
    "photographs": PHOTOGRAPHS,
    "textures": ("brick", "grass", "gravel"),
    "retina, cells, sky": ("cell", "hubble_deep_field", "ihc", "retina", "microaneurysms"),
    "scanned text, logos": ("page", "text", "horse", "logo", "color"),
}
"""Sample pictures of scikit-image by set."""

DICOM = {
    "693_UNCI": "CT, head", "J2K_pixelrep_mismatch": "CT, head", "eCT_Supplemental": "CT, head",
    "CT_small": "CT, body", "explicit_VR-UN": "CT, body",
    "RG1_J2KI": "X-ray, tibia and chest", "RG3_J2KI": "X-ray, tibia and chest",
    "Fake_MONOHR1": "X-ray, tibia and chest",
    "examples_jpeg2k": "ultrasound", "examples_palette": "ultrasound", "OBXXXX1A": "ultrasound",
    "examples_rgb_color": "ultrasound", "US1_UNCI": "ultrasound", "color-pl": "ultrasound",
    "gdcm-US-ALOKA-16": "ultrasound", "examples_ybr_color": "ultrasound",
    "examples_overlay": "MRI, shoulder and abdomen", "MR2_UNCI": "MRI, shoulder and abdomen",
    "MR-SIEMENS-DICOM-WithOverlays": "MRI, shoulder and abdomen",
    "MR_small": "MRI, shoulder and abdomen",
    "JPEG2000_UNC": "scintigraphy",
}  # fmt: skip
"""Test files of pydicom and torchxrayvision by set."""

WINDOWS = ((-160.0, 240.0), (-1000.0, 400.0), (-200.0, 1000.0))
"""Hounsfield units in which CT is shown: soft tissue, lung, bone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    counts: dict[str, int] = {}
    files = {path.name: path for path in sorted(walk(options.checkouts))}
    for name, title, picture in (
        *sampled(),
        *photographed(options.checkouts),
        *radiographs(options.checkouts),
        *dicom(files),
        *slices(files),
    ):
        if picture.std() > 0:
            save(options.out / name / f"{title}.png", picture)
            counts[name] = counts.get(name, 0) + 1
    for name, count in sorted(counts.items()):
        print(f"{count:5} {name}")
    for name in sorted({"photographs", "chest X-ray", *DICOM.values(), "MRI, spine"} - set(counts)):
        print(f"none  {name}: its repository is not among the checkouts")


def save(path: Path, picture: Floats) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    low, high = np.percentile(picture, (0, 99.9))
    share = np.clip((picture - low) / max(high - low, 1e-9), 0, 1)
    Image.fromarray((255 * share).astype(np.uint8)).save(path)


def cut(name: str, title: str, picture: Floats, count: int = CROPS) -> Found:
    """The whole picture and squares of it at random."""
    yield name, f"{title}--0", picture
    random = np.random.default_rng(sum(title.encode()))
    for number in range(count):
        side = int(random.uniform(0.3, 0.8) * min(picture.shape))
        top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape)
        yield name, f"{title}--{number + 1}", picture[top : top + side, left : left + side]


def grey(path: Path) -> Floats:
    return np.asarray(Image.open(path).convert("L"), np.float64)


def sampled() -> Found:
    """What scikit-learn and scikit-image carry."""
    from sklearn.datasets import load_digits, load_sample_image

    for name in ("china.jpg", "flower.jpg"):
        yield from cut("photographs", name[:-4], load_sample_image(name).mean(2))
    for number, digit in enumerate(load_digits().images[::7][:200]):
        yield "digits, 8×8", f"{number}--0", np.kron(digit, np.ones((16, 16)))
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        print("none  scikit-image is not installed")
        return
    folder = Path(found.origin).parent / "data"
    for kind, names in SAMPLES.items():
        for name in names:
            for path in sorted(folder.glob(f"{name}.*"))[:1]:
                yield from cut(kind, name, grey(path))
    for number, face in enumerate(np.load(folder / "lfw_subset.npy")[:100]):
        yield "faces, 25×25", f"{number}--0", np.asarray(face, np.float64)


def photographed(root: Path) -> Found:
    for path in sorted(root.glob("Kodak*/*/*.png")):
        yield from cut("photographs", f"kodak{path.stem}", grey(path))


def radiographs(root: Path) -> Found:
    for path in sorted(root.glob("Figure1*/images/*")):
        patient, view = path.stem.rstrip("abc"), path.stem[-1]
        yield "chest X-ray", f"{patient}--{view}", grey(path)
    tests = [*root.glob("torchxray*/tests/**/*.png"), *root.glob("torchxray*/tests/*.jpg")]
    for path in sorted(tests):
        yield "chest X-ray", f"{path.stem}--0", grey(path)


def dicom(files: dict[str, Path]) -> Found:
    """The test files of `DICOM`; CT in three windows, of a film every sixth frame."""
    pydicom = importlib.import_module("pydicom")
    for title, name in DICOM.items():
        if f"{title}.dcm" not in files:
            continue
        data: Any = pydicom.dcmread(files[f"{title}.dcm"], force=True)
        pixels = np.asarray(data.pixel_array, np.float64)
        if data.get("SamplesPerPixel", 1) == 3:
            pixels = pixels.mean(-1)
        units = pixels * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        frames = units[None] if units.ndim == 2 else units[::6]
        for number, frame in enumerate(frames):
            windows = WINDOWS if data.get("Modality") == "CT" else ((-np.inf, np.inf),)
            for place, window in enumerate(windows):
                yield name, f"{title}--{number}{place}", np.clip(frame, *window)


def slices(files: dict[str, Path]) -> Found:
    """Every few slices of the volumes, along each axis, in their true proportions."""
    kinds = {
        "t1w.nii.gz": ("MRI, spine", 4), "t2.nii.gz": ("MRI, spine", 4),
        "PAM50_small_t2.nii.gz": ("MRI, spine", 6), "t2s_uncropped.nii.gz": ("MRI, spine", 1),
        "inia19-t1-brain.nii.gz": ("MRI, macaque brain", 8),
        "torsoLabel.nii.gz": ("organ labels", 12), "ct_perfusion.nii.gz": ("CT perfusion map", 1),
    }  # fmt: skip
    for file, (name, step) in kinds.items():
        if file not in files:
            continue
        volume: Any = nibabel.as_closest_canonical(nibabel.load(files[file]))
        voxels = np.asarray(volume.dataobj)
        if voxels.dtype.names:  # red, green and blue
            voxels = np.sum([voxels[part].astype(float) for part in voxels.dtype.names], axis=0)
        sizes = np.array(volume.header.get_zooms()[:3])
        for axis in (2,) if step == 1 else (0, 1, 2):
            length = voxels.shape[axis]
            for place in range(length // 8, length - length // 8, step):
                plane = np.rot90(np.take(voxels.astype(float), place, axis))
                down, across = np.delete(sizes, axis)[::-1] / np.delete(sizes, axis).min()
                shape = round(plane.shape[1] * across), round(plane.shape[0] * down)
                drawn = Image.fromarray(plane.astype(np.float32)).resize(shape)
                if min(shape) > 0.4 * max(shape):
                    yield name, f"{file.split('.')[0]}-{axis}--{place}", np.asarray(drawn, float)


if __name__ == "__main__":
    main()
