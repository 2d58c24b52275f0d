"""Recorded references for slide_test and resample_test: what tifffile, OpenSlide and Pillow make of the same files.

    python3 tests/data/reference_images.py ../shared/data      # rewrites tests/data/reference/images

Needs numpy, tifffile, imagecodecs, Pillow, openslide-python and openslide-bin. The tests themselves need no Python:
they read the small TIFF files and the three tables written here. Pixels are recorded as FNV-1a hashes of RGB bytes.
Every TIFF page is decoded by tifffile; where OpenSlide or Pillow can open the file too, they must agree.
"""
import io
import pathlib
import random
import sys

import numpy
import openslide
import tifffile
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "reference" / "images"


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in bytes(data):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def made_pixels(width, height):  # as in made.h
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.int64)
    rgb = numpy.stack([x * 7 + y * 3, x * x + 5 * y, x * y * 11 + 13 * x], axis=-1)
    return (rgb & 255).astype(numpy.uint8)


def smooth(width, height):  # compresses well as JPEG
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    rgb = [127 + 120 * numpy.sin(x / 9 + y / 23), 127 + 120 * numpy.cos(x / 17 - y / 11), (x * 255 / width)]
    return numpy.stack(rgb, axis=-1).round().astype(numpy.uint8)


def make_files():
    """Small TIFF files of the layouts that the samples lack."""
    rgb, soft = made_pixels(75, 61), smooth(150, 130)
    def write(name, data, **options):
        tifffile.imwrite(OUT / name, data, metadata=None, software=False, **options)
    write("gray.tif", rgb[..., 1], photometric="minisblack", rowsperstrip=7, compression="lzw")
    write("inverted.tif", rgb[..., 1], photometric="miniswhite", rowsperstrip=9)
    write("rgb16.tif", rgb.astype(numpy.uint16) * 250 + 77, photometric="rgb", tile=(32, 16), compression="zlib",
          predictor=True)
    write("rgb16_big.tif", rgb.astype(numpy.uint16) * 250 + 77, photometric="rgb", byteorder=">", rowsperstrip=10,
          compression="lzw", predictor=True)
    write("gray16_planes.tif", (rgb.astype(numpy.uint16) * 201).transpose(2, 0, 1).copy(), photometric="rgb",
          planarconfig="separate", tile=(16, 32), byteorder=">")
    write("rgba.tif", numpy.dstack([rgb, rgb[..., 2]]), photometric="rgb", extrasamples=["unassalpha"],
          compression="packbits", rowsperstrip=8)
    write("planes_tiled.tif", rgb.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", tile=(32, 32),
          compression="zlib", predictor=True)
    write("bigtiff_big.tif", rgb, photometric="rgb", bigtiff=True, byteorder=">", tile=(32, 48), compression="lzw")
    write("zstd.tif", rgb, photometric="rgb", tile=(48, 48), compression="zstd")
    for sampling in ((1, 1), (2, 1), (2, 2)):
        write(f"jpeg_{sampling[0]}{sampling[1]}.tif", soft, photometric="ycbcr", tile=(64, 48), compression="jpeg",
              compressionargs={"level": 85}, subsampling=sampling)
    write("jpeg_rgb_strips.tif", soft, photometric="rgb", rowsperstrip=24, compression="jpeg",
          compressionargs={"level": 90, "outcolorspace": "rgb"})
    write("jpeg_gray.tif", soft[..., 0], photometric="minisblack", tile=(32, 32), compression="jpeg",
          compressionargs={"level": 80})
    write("jpeg_planes.tif", soft.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", tile=(48, 64),
          compression="jpeg", compressionargs={"level": 85})
    colors = made_pixels(256, 1)[0].astype(numpy.uint16).T * 257
    write("palette.tif", rgb[..., 2], photometric="palette", colormap=colors, rowsperstrip=11, compression="packbits")
    write("bilevel.tif", rgb[..., 1] > 100, photometric="minisblack", rowsperstrip=20)
    # A pyramid whose SubIFDs belong to an OME-TIFF with sizes in its text.
    ome = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250.0,
           "PhysicalSizeYUnit": "nm"}
    with tifffile.TiffWriter(OUT / "pyramid.ome.tif", ome=True) as tif:
        options = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
        tif.write(soft, subifds=2, metadata=ome, software=False, **options)
        tif.write(numpy.ascontiguousarray(soft[::2, ::2]), subfiletype=1, metadata=None, **options)
        tif.write(numpy.ascontiguousarray(soft[::4, ::4][:32]), subfiletype=1, metadata=None, **options)
    # An Aperio slide of three levels with thumbnail, label and macro.
    head = "Aperio Image Library v12.0.1 \r\n"
    with tifffile.TiffWriter(OUT / "levels.svs") as tif:
        def page(data, text, **options):
            tif.write(data, photometric="rgb", metadata=None, software=False, description=text, **options)
        jpeg = {"compression": "jpeg", "compressionargs": {"level": 80, "outcolorspace": "rgb"}}
        page(soft, head + "150x130 [0,0 150x130] (48x48) JPEG/RGB Q=80|AppMag = 40|MPP = 0.2525|Left = 1.5",
             tile=(48, 48), **jpeg)
        page(soft[::3, ::3].copy(), head + "150x130 -> 50x44 - |AppMag = 40|MPP = 0.2525", rowsperstrip=16, **jpeg)
        page(soft[::2, ::2].copy(), head + "150x130 (48x48) -> 75x65 JPEG/RGB Q=80", tile=(48, 48), **jpeg)
        page(soft[::4, ::4].copy()[:32, :37].copy(), head + "150x130 (48x48) -> 37x32 JPEG/RGB Q=80", tile=(48, 48),
             **jpeg)
        page(soft[:40, :30].copy(), head + "label 30x40", subfiletype=1, rowsperstrip=40, compression="lzw",
             predictor=True)
        page(soft[:30, :60].copy(), head + "macro 60x30", subfiletype=9, rowsperstrip=16, **jpeg)


def to_rgb(page):
    data = page.asarray()
    if page.planarconfig == 2 and data.ndim == 3 and page.samplesperpixel > 1:
        data = numpy.moveaxis(data, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        data = (page.colormap[:, data] // 257).transpose(1, 2, 0).astype(numpy.uint8)
    if data.dtype == bool:
        data = data * numpy.uint8(255)
    if data.ndim == 2:
        data = numpy.repeat(data[..., None], 3, axis=2)
    data = data[..., :3]
    if data.dtype == numpy.uint16:
        data = (data.astype(numpy.uint32) + 128) // 257
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        data = 255 - data
    return numpy.ascontiguousarray(data.astype(numpy.uint8))


def check_with_openslide(path, pages):
    """The levels as OpenSlide sees them; returns how many."""
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError:
        return 0
    sizes = {page.shape[1::-1]: page for page in pages.values()}
    for level, size in enumerate(slide.level_dimensions):
        rgba = numpy.asarray(slide.read_region((0, 0), level, size))
        page = sizes.get(size)
        if page is not None and (rgba[..., 3] == 255).all():
            worst = numpy.abs(rgba[..., :3].astype(int) - page).max()
            print(f"    OpenSlide level {level} {size}: largest difference {worst}")
            if worst:
                raise SystemExit(f"{path}: OpenSlide and tifffile differ at level {level}")
    return slide.level_count


def regions_of(path, lines):
    draw = random.Random(path.name)
    with tifffile.TiffFile(path) as tif:
        all_pages = {f"page {i}": page for i, page in enumerate(tif.pages)}
        for i, sub in enumerate(tif.pages[0].pages or []):
            all_pages[f"page 0, sub-image {i}"] = sub
        decoded = {name: to_rgb(page) for name, page in all_pages.items()}
    print(path.name, {name: page.shape for name, page in decoded.items()})
    check_with_openslide(path, decoded)
    for name, page in decoded.items():
        height, width = page.shape[:2]
        boxes = [(0, 0, width, height)]
        for _ in range(6):
            w, h = draw.randint(1, min(width, 300)), draw.randint(1, min(height, 300))
            boxes.append((draw.randint(0, width - w), draw.randint(0, height - h), w, h))
        for x, y, w, h in boxes:
            if w * h > 700 * 700:
                continue
            part = page[y:y + h, x:x + w]
            lines.append(f"{path.name};{name};{width};{height};{x};{y};{w};{h};{fnv(part.tobytes())}")


def resample_table():
    draw = random.Random(4)
    filters = {"box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
    lines = []
    shapes = [(37, 29, 11, 9), (37, 29, 50, 61), (37, 29, 37, 4), (37, 29, 5, 29), (37, 29, 1, 1), (1, 1, 7, 5),
              (300, 200, 224, 224), (150, 130, 64, 64), (512, 3, 17, 90), (224, 224, 224, 224), (97, 211, 300, 40),
              (1000, 8, 3, 8)]
    for name, kind in filters.items():
        for w, h, ow, oh in shapes:
            image = Image.fromarray(made_pixels(w, h))
            boxes = [None]
            for _ in range(3):
                x0, y0 = draw.uniform(0, w * 0.6), draw.uniform(0, h * 0.6)
                boxes.append((x0, y0, min(w, x0 + draw.uniform(0.3, 0.4) * w), min(h, y0 + draw.uniform(0.3, 0.4) * h)))
            boxes.append((w // 4, h // 4, w // 4 + max(1, w // 2), h // 4 + max(1, h // 2)))
            for box in boxes:
                x0, y0, x1, y1 = box or (0, 0, w, h)
                # Across, then down, as every Pillow up to 12 does in one call. Pillow 13 goes down first where that is
                # less work, which rounds differently.
                out = image.resize((ow, h), kind, box=(x0, 0, x1, h)).resize((ow, oh), kind, box=(0, y0, ow, y1))
                down = image.resize((w, oh), kind, box=(0, y0, w, y1)).resize((ow, oh), kind, box=(x0, 0, x1, oh))
                direct = image.resize((ow, oh), kind, box=box).tobytes()
                assert direct in (out.tobytes(), down.tobytes()), (name, w, h, ow, oh, box)
                lines.append(f"{name};{w};{h};{ow};{oh};{x0!r};{y0!r};{x1!r};{y1!r};{fnv(out.tobytes())}")
    return lines


def jpeg_table():
    lines = []
    for w, h in ((64, 48), (33, 17), (1, 1), (224, 224), (250, 3)):
        image = Image.fromarray(made_pixels(w, h))
        for quality in (1, 30, 75, 90, 95, 100):
            for number, sampling in enumerate(("4:2:0", "4:2:2", "4:4:4")):
                out = io.BytesIO()
                image.save(out, "JPEG", quality=quality, subsampling=sampling)
                lines.append(f"{w};{h};{quality};{number};{len(out.getvalue())};{fnv(out.getvalue())}")
    out = io.BytesIO()
    Image.fromarray(made_pixels(64, 48)).save(out, "JPEG")
    default = fnv(out.getvalue())
    assert any(line.startswith("64;48;75;0;") and line.endswith(default) for line in lines), "Pillow's defaults moved"
    return lines


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    make_files()
    lines = []
    for path in sorted(OUT.glob("*.tif")) + sorted(OUT.glob("*.svs")):
        regions_of(path, lines)
    (OUT / "made.csv").write_text("\n".join(lines) + "\n")
    if len(sys.argv) > 1:
        lines = []
        samples = pathlib.Path(sys.argv[1]) / "tiff"
        for path in sorted(samples.glob("*.tif")) + sorted(samples.glob("*.svs")):
            regions_of(path, lines)
        (OUT / "samples.csv").write_text("\n".join(lines) + "\n")
    (OUT / "resample.csv").write_text("\n".join(resample_table()) + "\n")
    (OUT / "jpeg.csv").write_text("\n".join(jpeg_table()) + "\n")


if __name__ == "__main__":
    main()
