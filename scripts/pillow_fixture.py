"""Writes tests/data/pillow.json: what Pillow makes of a known image, as hashes.

usage: pip install "pillow<13" && python scripts/pillow_fixture.py > tests/data/pillow.json

Pillow 10.4, 11.3 and 12.0 agree. Pillow 13.0 does the columns before the rows for some pairs of sizes
that change the proportions (always for fewer rows and more columns), which rounds differently.
"""

import io
import json
import sys

import PIL
from PIL import Image

FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}

# Rows and columns before and after: shrinking, growing, both, one axis only, odd sizes, one pixel.
SIZES = [
    ((100, 100), (64, 64)),
    ((64, 64), (100, 100)),
    ((37, 53), (19, 80)),
    ((53, 37), (53, 20)),
    ((53, 37), (90, 37)),
    ((40, 40), (40, 40)),
    ((1, 1), (5, 3)),
    ((7, 5), (1, 1)),
    ((300, 7), (11, 13)),
    ((480, 640), (256, 341)),
]

# What has both a resize of the short edge and a centre crop: name, edge, filter, rounding.
RULES = [
    ("torchvision", 256, "bilinear", lambda margin: int(round(margin / 2.0))),
    ("torchvision-v2", 232, "bilinear", lambda margin: int(round(margin / 2.0))),
    ("timm", 235, "bicubic", lambda margin: int(round(margin / 2.0))),
    ("hf", 256, "bicubic", lambda margin: margin // 2),
]
PHOTOS = [(480, 640), (333, 500), (500, 333), (225, 301), (1, 9)]


def noise(length):
    """The bytes of a linear congruential generator, which the test runs too."""
    state, out = 1, bytearray()
    for _ in range(length):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(state >> 16 & 255)
    return bytes(out)


def image(size):
    h, w = size
    return Image.frombytes("RGB", (w, h), noise(h * w * 3))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def evaluate(size, edge, name, rounding):
    picture = image(size)
    w, h = picture.size
    short, long = min(w, h), max(w, h)
    other = int(edge * long / short)
    picture = picture.resize((edge, other) if w <= h else (other, edge), FILTERS[name])
    w, h = picture.size
    left, top = rounding(w - 224), rounding(h - 224)
    return picture.crop((left, top, left + 224, top + 224)).tobytes()


resizes = []
for source, target in SIZES:
    for name, method in FILTERS.items():
        pixels = image(source).resize((target[1], target[0]), method).tobytes()
        resizes.append(
            {"from": source, "to": target, "filter": name, "first": list(pixels[:6]), "fnv": fnv(pixels)}
        )
crops = [
    {"from": size, "rules": name, "fnv": fnv(evaluate(size, edge, method, rounding))}
    for name, edge, method, rounding in RULES
    for size in PHOTOS
]
jpeg = io.BytesIO()
Image.new("CMYK", (8, 8), (0, 128, 255, 0)).save(jpeg, "JPEG", quality=90)
json.dump(
    {"pillow": PIL.__version__, "resizes": resizes, "crops": crops, "cmyk_jpeg": jpeg.getvalue().hex()},
    sys.stdout,
    separators=(",", ":"),
)
print()
