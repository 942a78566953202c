"""Files to scans: the format by signature, the pixels by Pillow, every failure one clear line.

Grey value of a pixel: stored units, as float32. Colour whose channels agree becomes the mean of
the channels; transparency lies over black, which is what surrounds a head; a palette is looked up.
"""

from __future__ import annotations

import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from clearhead.errors import ReadError
from clearhead.files import sha256
from clearhead.types import Facts, Scan

COLOURS = ("agree", "mean")
"""What happens to colour: accepted where the channels agree, or averaged whatever it shows."""

MAX_PIXELS = 64_000_000
"""Pixels of the largest picture that is decoded."""
MAX_BYTES = 1 << 30
"""Bytes of the largest file that is read."""
MAX_PAGES = 2000
"""Pages of the longest TIFF that is read."""

COLOUR_STEP = 1 / 8
"""A pixel is coloured where its channels differ by more than this share of the full range."""
COLOUR_SHARE = 0.05
"""A picture is coloured where more than this share of its pixels is.

Measured on the 4,600 files of the Kaggle set: 317 have channels that differ by more than 1 of 255,
all of them grey scans with a tint, a logo or a coloured bar; the most coloured one has 4.4 % of
coloured pixels. Colour maps and colour photographs have several times the limit.
"""

EXACT_FLOAT32 = 1 << 24
"""Largest integer up to which float32 holds every integer."""

PICTURES = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
"""Formats that are decoded."""

LATER = "which this version does not read yet: convert it to PNG or TIFF"
NEVER = "not a picture: remove it from the folder"
OTHER = "which clearhead does not read: save it as PNG or TIFF"


@dataclass(frozen=True)
class Signature:
    """Bytes at a fixed place that tell a format, and what is done with it."""

    format: str
    magic: bytes
    offset: int = 0
    refusal: str = ""
    """Why a file of this format is refused; empty where it is decoded."""

    @property
    def other(self) -> bool:
        """Whether a file of this format is no picture at all."""
        return self.refusal == NEVER


SIGNATURES = (
    # DICOM and NIfTI first: the 128 free bytes before `DICM` may imitate another format.
    Signature("DICOM", b"DICM", 128, LATER),
    Signature("NIfTI", b"n+1\0", 344, LATER),
    Signature("NIfTI", b"ni1\0", 344, LATER),
    Signature("NIfTI", b"n+2\0", 4, LATER),
    Signature("PNG", b"\x89PNG\r\n\x1a\n"),
    Signature("JPEG", b"\xff\xd8\xff"),
    Signature("TIFF", b"II*\0"),
    Signature("TIFF", b"MM\0*"),
    Signature("TIFF", b"II+\0"),  # BigTIFF
    Signature("TIFF", b"MM\0+"),
    Signature("WEBP", b"WEBP", 8),
    Signature("GIF", b"GIF87a", 0, OTHER),
    Signature("GIF", b"GIF89a", 0, OTHER),
    Signature("JPEG 2000", b"\0\0\0\x0cjP  ", 0, OTHER),
    Signature("JPEG 2000", b"\xff\x4f\xff\x51", 0, OTHER),
    Signature("JPEG XL", b"\0\0\0\x0cJXL ", 0, OTHER),
    Signature("AVIF", b"ftypavif", 4, OTHER),
    Signature("HEIC", b"ftypheic", 4, OTHER),
    Signature("gzip (a NIfTI .nii.gz, perhaps)", b"\x1f\x8b", 0, LATER),
    Signature("PDF", b"%PDF", 0, NEVER),
    Signature("ZIP", b"PK\3\4", 0, NEVER),
    Signature("BMP", b"BM"),  # last: two letters are weak evidence
)
"""How a format is told, in this order. A reader of a new format starts with its row here."""

HEAD_BYTES = max(each.offset + len(each.magic) for each in SIGNATURES)
"""How much of a file tells its format."""

PAGE = re.compile(r"(?P<file>.+)#page=(?P<page>[1-9][0-9]{0,5})", re.DOTALL)


# --- Doors ----------------------------------------------------------------------------------


def read(path: Path, *, source: str | None = None, colour: str = "agree") -> Scan:
    """The one picture in the file `path`, or the page that `source` names (`x.tif#page=2`).

    `source` is what the scan is called; default, the path. Pages count from 1.
    Errors: `ReadError`, one line, also where the file has several pages and none is named.
    """
    source = path.as_posix() if source is None else source
    with _naming(source):
        return _read(path, source, colour)


def _read(path: Path, source: str, colour: str) -> Scan:
    named = PAGE.fullmatch(source)
    file = _load(path)
    count = _count_pages(file)
    if named is None and count > 1:
        raise ReadError(f"has {count} pages: name one, as in {shown(path.name)}#page=1")
    page = int(named["page"]) if named else 1
    if page > count:
        raise ReadError(f"has {count} page{'s' * (count > 1)}, so there is no page {page}")
    return _decode(file, page, source, colour)


def read_scans(path: Path, *, source: str | None = None, colour: str = "agree") -> Iterator[Scan]:
    """Every page of the file `path`; each is called `source` with `#page=1`… where it has several.

    Errors: `ReadError` at the first page that can't be read.
    """
    for name, result in read_pages(path, source=source, colour=colour):
        if isinstance(result, ReadError):
            with _naming(name):
                raise result
        yield result


def read_pages(
    path: Path, *, source: str | None = None, colour: str = "agree"
) -> Iterator[tuple[str, Scan | ReadError]]:
    """Name and scan of every page, or the reason (without the name) why it can't be read.

    A file that can't be read at all gives one pair. Raises nothing for what is in the file.
    """
    source = path.as_posix() if source is None else source
    try:
        file = _load(path)
        count = _count_pages(file)
    except ReadError as reason:
        yield source, reason
        return
    # A name that looks like a page's gets its own suffix, so that `locate` finds the file again.
    plain = count == 1 and not PAGE.fullmatch(source)
    names = [source] if plain else [f"{source}#page={page}" for page in range(1, count + 1)]
    yield from _decode_pages(file, names, colour)


def read_page(path: Path, *, source: str, colour: str = "agree") -> Scan | ReadError:
    """As `read`, but returns the reason (without the name) instead of raising it."""
    try:
        return _read(path, source, colour)
    except ReadError as reason:
        return reason


def locate(root: Path, source: str) -> tuple[Path, int]:
    """File and page (from 1) of a manifest's `source`."""
    named = PAGE.fullmatch(source)
    return (root / named["file"], int(named["page"])) if named else (root / source, 1)


def sniff(head: bytes) -> Signature | None:
    """The signature that the first `HEAD_BYTES` of a file carry, if any is known."""
    for each in SIGNATURES:
        if head.startswith(each.magic, each.offset):
            return each
    return None


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of the first picture in `path`, from its header and EXIF alone.

    Errors: `ReadError`.
    """
    with _naming(path.as_posix()), _opened(_load(path)) as image:
        height, width = image.height, image.width
        # EXIF behind the pixels of a PNG would cost their decoding: taken as none.
        header_only = image.format != "PNG" or "exif" in image.info
        turned = header_only and _orientation(image) in TURNED
        return (width, height) if turned else (height, width)


# --- Bytes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    data: bytes
    sha256: str
    format: str


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Put the name of the picture, on one line, before the reason of a `ReadError`."""
    try:
        yield
    except ReadError as reason:
        raise ReadError(f"{shown(source)}: {reason}") from None


def shown(name: str) -> str:
    """`name` on one line of a message, whatever characters it holds."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    return plain if plain.isprintable() else repr(plain)


def _load(path: Path) -> _File:
    data = _bytes(path)
    signature = sniff(data[:HEAD_BYTES])
    if signature is None:
        raise ReadError(
            f"not a picture by its first bytes: expected {', '.join(PICTURES)}; "
            "replace or remove it"
        )
    if signature.refusal:
        raise ReadError(f"a file in the format {signature.format}, {signature.refusal}")
    return _File(data, sha256(data), signature.format)


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ReadError("a folder, where a picture was expected: name a file in it")
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise ReadError("not a regular file: expected a picture")
        if status.st_size > MAX_BYTES:
            raise ReadError(
                f"{status.st_size:,} bytes; the limit is {MAX_BYTES:,}: make it smaller"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ReadError(_trouble(path, error)) from None
    except ValueError:  # a null character in the name
        raise ReadError("not a possible file name") from None
    if not data:
        raise ReadError("an empty file (0 bytes): copy it again from where it came")
    return data


def _trouble(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission to read it is denied: change its mode or owner"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if path.is_symlink():
            return "a link to a file that is not there: remove or repair it"
        return "there is no such file: check the name"
    return f"the system can't read it ({error.strerror or type(error).__name__})"


# --- Pillow ---------------------------------------------------------------------------------


@contextmanager
def _opened(file: _File) -> Iterator[Image.Image]:
    """The file opened by Pillow, its pixels not yet decoded. Errors: `ReadError`."""
    with _guarded(file), Image.open(io.BytesIO(file.data), formats=[file.format]) as image:
        yield image


@contextmanager
def _guarded(file: _File) -> Iterator[None]:
    """Whatever Pillow raises inside is a `ReadError`, and what it warns of is passed over.

    Decoders meet hostile bytes: beside OSError they raise SyntaxError, struct.error, zlib.error,
    OverflowError, and more. Their messages may quote the file, so none is passed on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ReadError:
            raise
        except Image.DecompressionBombError:
            raise ReadError(_too_large()) from None
        except UnidentifiedImageError:
            raise ReadError(
                f"starts as {file.format} does, but is broken or of a rare variant: "
                "save it again as PNG"
            ) from None
        except MemoryError:
            raise ReadError("needs more memory than there is: make it smaller") from None
        except Exception as error:
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            what = "cut short" if cut else "broken"
            raise ReadError(
                f"{what}: the {file.format} data can't be decoded; copy it again from where it came"
            ) from None


def _too_large() -> str:
    return f"more pixels than the limit of {MAX_PIXELS:,}: make it smaller"


def _count_pages(file: _File) -> int:
    """Pages of the file, 1 or more; refuses what moves."""
    if file.format in ("JPEG", "BMP"):
        # Of a JPEG that carries further pictures (thumbnail, depth), the first is the picture.
        return 1
    with _opened(file) as image:
        if file.format == "TIFF":
            return _count_frames(image)
        if getattr(image, "is_animated", False):
            raise ReadError("animated: save the one frame that counts as PNG")
        return 1


def _count_frames(image: Image.Image) -> int:
    """Pages of a TIFF. Counted one by one: `n_frames` has no end on a file made to be long."""
    count = 1
    try:
        while count <= MAX_PAGES:
            image.seek(count)
            count += 1
    except EOFError:
        return count
    raise ReadError(f"more than {MAX_PAGES:,} pages: split it into files")


def _decode(file: _File, page: int, source: str, colour: str) -> Scan:
    with _opened(file) as image:
        return _decode_page(image, file, page, source, colour)


def _decode_pages(
    file: _File, names: list[str], colour: str
) -> Iterator[tuple[str, Scan | ReadError]]:
    """Name and scan, or reason, of every page, in their order."""
    image: Image.Image | None = None
    for page, name in enumerate(names, start=1):
        try:
            with _guarded(file):
                # Opened once: the way to a page leads through all pages before it.
                image = image or Image.open(io.BytesIO(file.data), formats=[file.format])
                scan = _decode_page(image, file, page, name, colour)
        except ReadError as reason:
            image = None  # in an unknown state
            yield name, reason
        else:
            yield name, scan


def _decode_page(image: Image.Image, file: _File, page: int, source: str, colour: str) -> Scan:
    if colour not in COLOURS:
        raise ReadError(f"colour is {colour!r}: expected {' or '.join(COLOURS)}")
    if page > 1:
        image.seek(page - 1)
    mode = image.mode
    bits = _bits(image, file.data)
    _check(image, bits)
    turn = _orientation(image)
    depth = _depth(image.mode, bits)
    image.load()
    pixels = TURNS[turn](_grey(image, colour, depth))
    height, width = pixels.shape
    return Scan(
        pixels=np.ascontiguousarray(pixels),
        source=source,
        sha256=file.sha256,
        facts=Facts(file.format, mode, height, width, len(file.data)),
        depth=depth or max(float(pixels.max()), 1.0),
    )


def _check(image: Image.Image, bits: int) -> None:
    """Refuse, before a pixel is decoded, what is too large or would be decoded wrongly."""
    if image.width * image.height > MAX_PIXELS:
        raise ReadError(
            f"{image.width:,}×{image.height:,} pixels; the limit is {MAX_PIXELS:,}: make it smaller"
        )
    if image.mode not in DEPTHS:
        raise ReadError(f"pixels of mode {image.mode}, {OTHER}")
    if bits > 8 and image.mode not in ("I;16", "I;16B", "I;16L", "I", "F"):
        # Pillow would keep the upper 8 bits and say nothing.
        raise ReadError(
            f"colour or transparency of {bits} bits per channel, of which only 8 would be "
            "read: save it as 16-bit grey"
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits of a channel as stored: 8 unless PNG or TIFF says otherwise."""
    if image.format == "PNG":
        return data[24]  # the byte after width and height in IHDR, which always comes first
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


# --- Orientation ----------------------------------------------------------------------------

TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: pixels.T[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: pixels.T[::-1],
}
"""What each value of the EXIF tag Orientation asks for (Exif 2.32, tag 0x0112)."""

TURNED = (5, 6, 7, 8)
"""Orientations that swap height and width."""


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # turned by Pillow itself, size at opening and pixels at loading
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF beside sound pixels turns nothing
        return 1
    return value if value in TURNS else 1


# --- Grey values ----------------------------------------------------------------------------

DEPTHS: dict[str, float | None] = {
    "1": 1.0,
    "I;16": 65535.0,
    "I;16L": 65535.0,
    "I;16B": 65535.0,
    "I": None,
    "F": None,
    **dict.fromkeys(("L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"), 255.0),
    **dict.fromkeys(("CMYK", "YCbCr"), 255.0),
}
"""Largest value that a pixel of each mode can hold; None: the picture's own maximum."""

PLAIN = {
    "La": "LA",
    "P": "RGBA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
"""Modes that are converted first, and to what."""

CLEAR = {"1": "LA", "L": "LA", "RGB": "RGBA"}
"""Modes in which one value may stand for *transparent*, and the mode that spells it out."""


def _depth(mode: str, bits: int) -> float | None:
    if mode.startswith("I;16") and bits < 16:  # TIFF of 12 bits
        return float(2**bits - 1)
    return DEPTHS[mode]


def _grey(image: Image.Image, colour: str, depth: float | None) -> NDArray[np.float32]:
    """Grey values, (H, W), in stored units."""
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        depth_scale = depth or 255.0
        image = image.convert(CLEAR[image.mode])
        return _over_black(np.asarray(image), colour) * np.float32(depth_scale / 255)
    if image.mode in PLAIN:
        image = image.convert(PLAIN[image.mode])
    stored = np.asarray(image)
    if stored.size == 0:
        raise ReadError("no pixels: a picture of height or width 0")
    if image.mode in ("LA", "RGBA"):
        return _over_black(stored, colour)
    if image.mode == "RGB":
        return _mean(stored, colour)
    return _numbers(image, stored, depth)


def _over_black(stored: NDArray[np.uint8], colour: str) -> NDArray[np.float32]:
    """Grey and alpha (H, W, 2), or colour and alpha (H, W, 4), laid over black."""
    alpha = stored[..., -1:]
    shades: NDArray[np.uint8] | NDArray[np.float32] = stored[..., :-1]
    if (alpha < 255).any():
        shades = np.multiply(shades, alpha.astype(np.float32) / 255, dtype=np.float32)
    return _mean(shades, colour) if shades.shape[-1] == 3 else shades[..., 0].astype(np.float32)


def _mean(shades: NDArray[np.uint8] | NDArray[np.float32], colour: str) -> NDArray[np.float32]:
    """Mean of the channels of (H, W, 3) in 0–255; refuses colour unless `colour` is `mean`."""
    red, green, blue = (shades[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red.astype(np.float32)
    if colour == "agree":
        _check_agreement(shades)
    total: NDArray[np.float32] = red.astype(np.float32) + green + blue
    return total / np.float32(3)


def _check_agreement(shades: NDArray[np.uint8] | NDArray[np.float32]) -> None:
    spread = shades.max(axis=-1) - shades.min(axis=-1)
    share = float((spread > 255 * COLOUR_STEP).mean())
    if share > COLOUR_SHARE:
        raise ReadError(
            f"a colour picture: the channels differ in {share:.0%} of its pixels, where "
            f"{COLOUR_SHARE:.0%} may; give --colour mean to read the mean of the channels"
        )


def _numbers(image: Image.Image, stored: NDArray[Any], depth: float | None) -> NDArray[np.float32]:
    """Grey values of the modes that hold one number per pixel."""
    if image.mode == "F" and not np.isfinite(stored).all():
        raise ReadError("holds NaN or infinite values: expected finite numbers; mend or remove it")
    if image.mode == "I" and max(-int(stored.min()), int(stored.max())) > EXACT_FLOAT32:
        raise ReadError(
            f"holds integers beyond ±{EXACT_FLOAT32:,}, which float32 would round: rescale it"
        )
    pixels = stored.astype(np.float32)
    if image.mode.startswith("I;16"):
        if getattr(image, "tag_v2", {}).get(262) == 0:  # TIFF, 0 is white: Pillow leaves it so
            pixels = np.float32(depth or 65535) - pixels
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            pixels[stored == clear] = 0
    return pixels
