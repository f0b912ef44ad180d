"""Writes tests/data/pictures.json: small image files of many kinds, and the pixels that Pillow reads from them.

usage: apt install libjpeg-turbo-progs && pip install pillow numpy && python scripts/make_picture_fixtures.py > tests/data/pictures.json

`cjpeg` writes the JPEGs that Pillow cannot write. The pixels are FNV hashes of `convert("RGB")`, turned by
`ImageOps.exif_transpose`.
"""

import base64
import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps

Y, X = np.mgrid[0:19, 0:27]
WAVES = [128 + 120 * np.sin(X / a + Y / b + c) for a, b, c in ((3.1, 5.0, 0), (4.2, -3.3, 1), (2.6, 7.7, 2))]
PHOTO = Image.fromarray(np.stack(WAVES, axis=2).astype(np.uint8))
SMALL = PHOTO.crop((3, 2, 12, 7))
ALPHA = Image.fromarray(np.arange(45, dtype=np.uint8).reshape(5, 9) * 5)
GREY = SMALL.convert("L")
RGBA = SMALL.copy()
RGBA.putalpha(ALPHA)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def cjpeg(*flags, picture=PHOTO):
    return subprocess.run(["cjpeg", "-quality", "80", *flags], input=saved(picture, "PPM"), stdout=subprocess.PIPE, check=True).stdout


def png(color, depth, rows, extra=b"", interlaced=0):
    """A PNG of any colour type: Pillow cannot write all that it can read."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 9, 5, depth, color, 0, 0, interlaced))]
    parts += [(extra[:4], extra[4:])] if extra else []
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in parts:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data


def tiles():
    """A TIFF of four tiles, each a JPEG."""
    frame = Image.new("RGB", (32, 32))
    frame.paste(PHOTO, (0, 0))
    parts = [saved(frame.crop((x, y, x + 16, y + 16)), "JPEG") for y in (0, 16) for x in (0, 16)]
    starts = [8 + sum(map(len, parts[:i])) for i in range(4)]
    body = b"".join(parts)
    after = 8 + len(body)
    lists = struct.pack("<3H2H8L", 8, 8, 8, 2, 2, *starts, *map(len, parts))
    tags = [(256, 3, 1, 27), (257, 3, 1, 19), (258, 3, 3, after), (259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3)]
    tags += [(322, 3, 1, 16), (323, 3, 1, 16), (324, 4, 4, after + 10), (325, 4, 4, after + 26), (530, 3, 2, 2 << 16 | 2)]
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<L", after + len(lists)) + body + lists + struct.pack("<H", len(tags)) + entries + bytes(4)


def rows(samples, depth):
    """Unfiltered rows of a PNG, big-endian."""
    line = samples * depth // 8
    noise = bytes((i * i * 37 + i * 11) >> 3 & 255 for i in range(5 * line))
    return b"".join(b"\0" + noise[y * line :][:line] for y in range(5))


def adam7(picture):
    """The seven passes of an interlaced RGB PNG."""
    pixels = np.asarray(picture)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [pixels[top::down, left::right] for top, left, down, right in passes]
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


def exif(orientation, xmp=False):
    """A JPEG with an EXIF orientation."""
    if not xmp:
        tags = Image.Exif()
        tags[0x0112] = orientation
        return saved(PHOTO, "JPEG", exif=tags)
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    return saved(PHOTO, "JPEG", xmp=packet.encode())


def gif_in_a_corner():
    """A frame smaller than its screen, with a transparent colour."""
    body = saved(SMALL.quantize(8), "GIF", transparency=2)
    at = body.index(b"\x2c")
    screen = struct.pack("<HH", 13, 8)
    return body[:6] + screen + body[10 : at + 1] + struct.pack("<HH", 2, 1) + body[at + 5 :]


def bmp(bits, masks=()):
    """A BMP of 16 or 32 bits."""
    line = 9 * bits // 8 + 3 & ~3
    body = bytes((i * i * 31 + i * 7) >> 2 & 255 for i in range(5 * line))
    extra = b"".join(struct.pack("<I", mask) for mask in masks)
    start = 54 + len(extra)
    head = struct.pack("<IiiHHIIiiII", 40, 9, 5, 1, bits, 3 if masks else 0, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + extra + body


palette = SMALL.quantize(11)
wide_grey = Image.fromarray((np.arange(45, dtype=np.uint16) * 7).reshape(5, 9))
FILES = {
    "JPEG": saved(PHOTO, "JPEG"),
    "JPEG 4:4:4": saved(PHOTO, "JPEG", subsampling=0, quality=95),
    "JPEG 4:2:2": saved(PHOTO, "JPEG", subsampling=1, optimize=True),
    "progressive JPEG": saved(PHOTO, "JPEG", progressive=True, quality=50),
    "grey JPEG": saved(PHOTO.convert("L"), "JPEG"),
    "RGB JPEG": saved(PHOTO, "JPEG", keep_rgb=True),
    "CMYK JPEG": saved(PHOTO.convert("CMYK"), "JPEG", subsampling=0),
    "CMYK JPEG 4:2:0": saved(PHOTO.convert("CMYK"), "JPEG", subsampling=2, progressive=True),
    "CMYK JPEG 4:2:2": saved(PHOTO.convert("CMYK"), "JPEG", subsampling=1),
    "CMYK JPEG of two columns": saved(PHOTO.crop((0, 0, 3, 9)).convert("CMYK"), "JPEG", subsampling=2),
    "JPEG with restarts": saved(PHOTO, "JPEG", restart_marker_blocks=1),
    "JPEG 4:4:0": cjpeg("-sample", "1x2"),
    "JPEG 4:1:1": cjpeg("-sample", "4x1"),
    "JPEG by threes": cjpeg("-sample", "3x1", "-progressive"),
    "arithmetic JPEG": cjpeg("-arithmetic"),
    "progressive arithmetic JPEG": cjpeg("-arithmetic", "-progressive"),
    "JPEG of one pixel": saved(PHOTO.crop((4, 4, 5, 5)), "JPEG"),
    "MPO": saved(PHOTO, "MPO", save_all=True, append_images=[SMALL]),
    "JPEG turned by EXIF": exif(6),
    "JPEG mirrored by EXIF": exif(4),
    "JPEG turned by XMP": exif(8, xmp=True),
    "JPEG with an orientation that is none": exif(77),
    "PNG": saved(SMALL, "PNG"),
    "interlaced PNG": png(2, 8, adam7(SMALL), interlaced=1),
    "RGBA PNG": saved(RGBA, "PNG"),
    "grey PNG": saved(GREY, "PNG"),
    "grey and alpha PNG": saved(Image.merge("LA", (GREY, ALPHA)), "PNG"),
    "palette PNG": saved(palette, "PNG"),
    "palette PNG with a transparent colour": saved(palette, "PNG", transparency=3),
    "one bit PNG": saved(SMALL.convert("1"), "PNG"),
    "one bit PNG with a transparent colour": png(0, 1, rows(16, 1), b"tRNS\0\1"),
    "two bit PNG": png(0, 2, rows(12, 2)),
    "16 bit grey PNG": png(0, 16, rows(9, 16)),
    "16 bit grey and alpha PNG": png(4, 16, rows(18, 16)),
    "16 bit RGB PNG": png(2, 16, rows(27, 16)),
    "16 bit RGBA PNG": png(6, 16, rows(36, 16)),
    "PNG turned by EXIF": saved(SMALL, "PNG", exif=b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "WebP": saved(PHOTO, "WEBP"),
    "WebP without loss": saved(RGBA, "WEBP", lossless=True, exact=True),
    "animated WebP": saved(SMALL, "WEBP", save_all=True, append_images=[SMALL.rotate(180)], lossless=True),
    "GIF": saved(palette, "GIF"),
    "GIF with a margin": gif_in_a_corner(),
    "animated GIF": saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]),
    "BMP": saved(SMALL, "BMP"),
    "palette BMP": saved(palette, "BMP"),
    "one bit BMP": saved(SMALL.convert("1"), "BMP"),
    "16 bit BMP": bmp(16),
    "16 bit BMP with masks": bmp(16, (0xF800, 0x7E0, 0x1F)),
    "32 bit BMP": bmp(32),
    "TIFF": saved(SMALL, "TIFF"),
    "grey TIFF": saved(GREY, "TIFF", compression="tiff_lzw"),
    "RGBA TIFF": saved(RGBA, "TIFF", compression="tiff_adobe_deflate"),
    "premultiplied TIFF": saved(RGBA, "TIFF", tiffinfo={338: 1}),
    "CMYK TIFF": saved(SMALL.convert("CMYK"), "TIFF", compression="packbits"),
    "palette TIFF": saved(palette, "TIFF"),
    "one bit TIFF": saved(SMALL.convert("1"), "TIFF", compression="group4"),
    "16 bit grey TIFF": saved(wide_grey, "TIFF"),
    "turned TIFF": saved(SMALL, "TIFF", tiffinfo={274: 6}),
    "JPEG TIFF": saved(SMALL, "TIFF", compression="jpeg"),
    "grey JPEG TIFF": saved(GREY, "TIFF", compression="jpeg"),
    "JPEG TIFF in strips": saved(PHOTO, "TIFF", compression="jpeg", strip_size=600),
    "JPEG TIFF of luma and chroma": saved(PHOTO.convert("YCbCr"), "TIFF", compression="jpeg"),
    "JPEG TIFF in tiles": tiles(),
    "TGA": saved(SMALL, "TGA"),
    "RGBA TGA by runs": saved(RGBA, "TGA", compression="tga_rle"),
    "grey TGA": saved(GREY, "TGA"),
    "palette TGA": saved(palette, "TGA"),
    "PPM": saved(SMALL, "PPM"),
    "PGM": saved(GREY, "PPM"),
    "PBM": saved(SMALL.convert("1"), "PPM"),
    "16 bit PGM": b"P5 9 5 65535\n" + rows(9, 16)[5:] + bytes(5),
    "16 bit PPM": b"P6 3 5 65535\n" + rows(9, 16)[5:] + bytes(5),
    "PPM in letters": b"P3 2 2 85\n" + b" ".join(b"%d" % (i * 7) for i in range(12)),
}


def read(data):
    picture = Image.open(io.BytesIO(data))
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    return {"size": [picture.height, picture.width], "fnv": fnv(picture.tobytes())}


def cut(data, length):
    """A truncated file: Pillow refuses it, unless told to accept truncated images."""
    try:
        Image.open(io.BytesIO(data[:length])).load()
        sys.exit(f"Pillow reads {length} of {len(data)} bytes")
    except (OSError, SyntaxError):
        pass
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    result = {"length": length, **read(data[:length])}
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return result


whole = [{"name": name, "file": base64.b64encode(data).decode(), **read(data)} for name, data in FILES.items()]
MISSING = {"JPEG": (3, 30), "progressive JPEG": (2, 12), "grey JPEG": (9,), "CMYK JPEG": (80,), "PNG": (40,), "palette PNG": (30,)}
truncated = [{"name": name, **cut(FILES[name], len(FILES[name]) - count)} for name, counts in MISSING.items() for count in counts]
json.dump({"pillow": PIL.__version__, "whole": whole, "truncated": truncated}, sys.stdout, separators=(",", ":"))
print()
