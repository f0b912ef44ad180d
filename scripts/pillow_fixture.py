"""Writes tests/data/pillow.json: hashes of the results of Pillow and timm for known images.

usage: pip install "pillow<13" timm && python scripts/pillow_fixture.py > tests/data/pillow.json

Pillow 13 resamples the columns before the rows where the image loses more than twice as many rows as
columns, which rounds differently there; up to 12 the rows always come first.
"""

import json
import sys

import PIL
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval

FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "bicubic": Image.BICUBIC,
    "hamming": Image.HAMMING,
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
    ((640, 480), (341, 256)),
    ((90, 20), (40, 16)),
    ((91, 33), (17, 60)),
    ((2, 2), (3, 5)),
    ((3, 200), (2, 7)),
    ((200, 3), (7, 2)),
    ((128, 96), (64, 48)),
    ((127, 95), (64, 48)),
    ((33, 34), (224, 225)),
    ((255, 254), (254, 255)),
]
# And many pairs without a thought.
for i in range(60):
    a, b, c, d = (1 + (i * k + 7 * i * i) % m for k, m in ((37, 97), (53, 83), (29, 71), (41, 103)))
    SIZES.append(((a, b), (c, d)))

# What has both a resize of the short edge and a centre crop: name, edge, filter, rounding.
RULES = [
    ("torchvision", 256, "bilinear", lambda margin: int(round(margin / 2.0))),
    ("torchvision-v2", 232, "bilinear", lambda margin: int(round(margin / 2.0))),
    ("timm", 235, "bicubic", lambda margin: int(round(margin / 2.0))),
    ("hf", 256, "bicubic", lambda margin: margin // 2),
]
PHOTOS = [(480, 640), (333, 500), (500, 333), (225, 301), (1, 9), (700, 240)]

# timm's other ways: crop mode, filter, size of the network, crop_pct.
TIMM = [
    ("squash", "bilinear", (64, 80), 0.9),
    ("squash", "bicubic", (96, 96), 1.0),
    ("border", "bicubic", (96, 96), 0.875),
    ("border", "bilinear", (64, 100), 1.0),
    ("center", "bicubic", (64, 100), 0.95),
    ("center", "hamming", (100, 64), 0.8),
]


def noise(length):
    """An image from the bytes of a linear congruential generator, which the test has too."""
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
modes = []
for mode, interpolation, size, crop_pct in TIMM:
    transform = transforms_imagenet_eval(
        img_size=size, crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation, normalize=False
    )
    for source in PHOTOS:
        pixels = transform(image(source)).permute(1, 2, 0).numpy().tobytes()
        modes.append(
            {
                "from": source,
                "mode": mode,
                "filter": interpolation,
                "size": size,
                "crop_pct": crop_pct,
                "fnv": fnv(pixels),
            }
        )

json.dump(
    {
        "pillow": PIL.__version__,
        "resizes": resizes,
        "crops": crops,
        "modes": modes,
    },
    sys.stdout,
    separators=(",", ":"),
)
print()
