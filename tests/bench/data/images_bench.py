"""Random regions and spot crops of a slide: ours against tifffile, Pillow and OpenSlide, taking turns in one run.

    python3 tests/bench/data/images_bench.py BUILD_DIRECTORY ../shared/data [--rounds 5]

Needs the program images_bench (target of the same name), numpy, tifffile, imagecodecs, Pillow, openslide-python and
openslide-bin. The slide is an 8192 x 8192 cut of section C2 written as 256-pixel JPEG tiles (4:2:0, quality 85); its
tiles repeated make a larger one (20,480 x 20,480), and the sample cmu1_small_region.svs (240-pixel tiles stored as RGB)
is a smaller one. Ours and tifffile each run on one thread and on two; the first of either is the number to compare.
Prints minima, medians, maxima and ratios of medians. Peers:

- tifffile: TiffPage, its tiles decoded by segment (imagecodecs), those a region touches, cut with numpy; no cache, and
  the same with a dictionary of decoded tiles, as many as fit our default of 128 MiB. On two threads each has its file
  and half of the regions.
- Pillow: Image.open once, crop by crop of the fully decoded picture (it has no other way); loading is counted and also
  shown apart. Once more with two threads, which is not how such loops are written.
- OpenSlide: read_region, its default cache (32 MiB) and one of 128 MiB.
"""
import argparse
import collections
import concurrent.futures
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy
import openslide
import tifffile
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
CACHE = 128 << 20


class Tiles:
    """Regions through tifffile, decoding only the tiles touched."""

    def __init__(self, path, cache):
        self.tif = tifffile.TiffFile(path)
        self.page = self.tif.pages[0]
        self.cache = collections.OrderedDict() if cache else None

    def tile(self, index):
        if self.cache is not None and index in self.cache:
            self.cache.move_to_end(index)
            return self.cache[index]
        page = self.page
        handle = self.tif.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        pixels = page.decode(data, index, jpegtables=page.jpegtables)[0][0]
        if self.cache is not None:
            self.cache[index] = pixels
            while len(self.cache) * pixels.nbytes > CACHE:
                self.cache.popitem(last=False)
        return pixels

    def region(self, x, y, side):
        page = self.page
        tw, th = page.tilewidth, page.tilelength
        across = -(-page.imagewidth // tw)
        out = numpy.empty((side, side, 3), numpy.uint8)
        for ty in range(y // th, (y + side - 1) // th + 1):
            for tx in range(x // tw, (x + side - 1) // tw + 1):
                pixels = self.tile(ty * across + tx)
                x0, y0 = max(x, tx * tw), max(y, ty * th)
                x1, y1 = min(x + side, tx * tw + pixels.shape[1]), min(y + side, ty * th + pixels.shape[0])
                out[y0 - y:y1 - y, x0 - x:x1 - x] = pixels[y0 - ty * th:y1 - ty * th, x0 - tx * tw:x1 - tx * tw]
        return out


def tiles_and_sum(path, points, side, cache):
    """The sum over all bytes, and the seconds that the sum took, which are no part of the work."""
    total, pause, tiles = 0, 0.0, Tiles(path, cache)
    for x, y in points:
        region = tiles.region(x, y, side)
        stop = time.perf_counter()
        total += int(region.sum(dtype=numpy.int64))
        pause += time.perf_counter() - stop
    return total, pause


def with_tifffile(path, points, side, cache):
    begin = time.perf_counter()
    total, pause = tiles_and_sum(path, points, side, cache)
    return time.perf_counter() - begin - pause, total


def with_two(path, points, side, cache):
    """tifffile on two threads; imagecodecs lets go of the interpreter's lock while it decodes."""
    begin, half = time.perf_counter(), len(points) // 2
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        totals = list(pool.map(lambda part: tiles_and_sum(path, part, side, cache), (points[:half], points[half:])))
    return time.perf_counter() - begin - sum(pause for _, pause in totals) / 2, sum(total for total, _ in totals)


def with_openslide(path, points, side, cache):
    begin, total, pause = time.perf_counter(), 0, 0.0
    slide = openslide.OpenSlide(path)
    if cache:
        slide.set_cache(openslide.OpenSlideCache(cache))
    for x, y in points:
        region = slide.read_region((x, y), 0, (side, side))
        stop = time.perf_counter()
        total += int(numpy.asarray(region)[..., :3].sum(dtype=numpy.int64))
        pause += time.perf_counter() - stop
    slide.close()
    return time.perf_counter() - begin - pause, total


def ours(program, *arguments):
    text = subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout.split()
    return float(text[0]), int(text[1])


def pillow_crops(path, points, side, out, directory, threads):
    begin = time.perf_counter()
    image = Image.open(path)
    image.load()
    loaded = time.perf_counter()

    def save(i):
        x, y = points[i]
        patch = image.crop((x, y, x + side, y + side)).resize((out, out), Image.BILINEAR)
        patch.save(f"{directory}/{i}.jpg")

    if threads == 1:
        for i in range(len(points)):
            save(i)
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(save, range(len(points))))
    return time.perf_counter() - begin, loaded - begin


def openslide_crops(path, points, side, out, directory):
    begin = time.perf_counter()
    slide = openslide.OpenSlide(path)
    for i, (x, y) in enumerate(points):
        patch = slide.read_region((x, y), 0, (side, side)).convert("RGB").resize((out, out), Image.BILINEAR)
        patch.save(f"{directory}/{i}.jpg")
    return time.perf_counter() - begin


def points_for(width, height, side, count, seed, folder):
    draw = random.Random(seed)
    points = [(draw.randint(0, width - side), draw.randint(0, height - side)) for _ in range(count)]
    path = folder / f"points_{seed}.txt"
    path.write_text("".join(f"{x} {y}\n" for x, y in points))
    return points, path


def report(name, times, base):
    middle = statistics.median(times)
    low, high = min(times), max(times)
    print(f"  {name:34s} {low * 1e3:8.0f} {middle * 1e3:8.0f} {high * 1e3:8.0f} ms {middle / base:7.2f} x ours")


def bench_regions(program, slide, side, count, rounds, folder):
    with tifffile.TiffFile(slide) as tif:
        height, width = tif.pages[0].shape[:2]
    points, path = points_for(width, height, side, count, 1, folder)
    sides = {
        "ours": lambda: ours(program, "regions", slide, path, side, 1),
        "tifffile, no cache": lambda: with_tifffile(slide, points, side, False),
        "tifffile, cache 128 MiB": lambda: with_tifffile(slide, points, side, True),
        "ours, 2 threads": lambda: ours(program, "regions", slide, path, side, 2),
        "tifffile, no cache, 2 threads": lambda: with_two(slide, points, side, False),
        "tifffile, cache, 2 threads": lambda: with_two(slide, points, side, True),
        "OpenSlide": lambda: with_openslide(slide, points, side, 0),
        "OpenSlide, cache 128 MiB": lambda: with_openslide(slide, points, side, CACHE),
    }
    times, sums = {name: [] for name in sides}, set()
    for _ in range(rounds):
        for name, call in sides.items():
            seconds, total = call()
            times[name].append(seconds)
            sums.add(total)
    if len(sums) != 1:
        raise SystemExit(f"the pixels differ: {sums}")
    print(f"{count} random {side} x {side} regions of {slide.name} ({width} x {height}), pixels equal:")
    for name in sides:
        report(name, times[name], statistics.median(times["ours"]))


def bench_crops(program, slide, side, out, count, rounds, folder):
    with tifffile.TiffFile(slide) as tif:
        height, width = tif.pages[0].shape[:2]
    points, path = points_for(width, height, side, count, 2, folder)
    a, b = folder / "ours", folder / "pillow"
    times = collections.defaultdict(list)
    for turn in range(rounds):
        for directory in (a, b):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        times["ours, 2 threads"].append(ours(program, "crops", slide, path, side, out, 2, a)[0])
        total, loading = pillow_crops(slide, points, side, out, b, 1)
        if turn == 0:
            differ = sum((a / f"{i}.jpg").read_bytes() != (b / f"{i}.jpg").read_bytes() for i in range(count))
            print(f"{differ} of {count} JPEG files differ from Pillow's")
        times["ours, 1 thread"].append(ours(program, "crops", slide, path, side, out, 1, a)[0])
        times["Pillow"].append(total)
        times["Pillow without loading the slide"].append(total - loading)
        times["Pillow, 2 threads"].append(pillow_crops(slide, points, side, out, b, 2)[0])
        times["OpenSlide + Pillow"].append(openslide_crops(slide, points, side, out, b))
    print(f"{count} spots of {slide.name}: crop {side}, bilinear to {out}, JPEG 75 to files:")
    for name in times:
        report(name, times[name], statistics.median(times["ours, 2 threads"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", default=None)
    options = parser.parse_args()
    program = pathlib.Path(options.build) / "images_bench"
    folder = pathlib.Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        slide = folder / "c2.tif"
        image = Image.open(pathlib.Path(options.data) / "her2st" / "images" / "C2.jpg").convert("RGB")
        pixels = numpy.asarray(image)[500:8692, 500:8692]
        tifffile.imwrite(slide, pixels, photometric="ycbcr", tile=(256, 256), compression="jpeg",
                         compressionargs={"level": 85}, subsampling=(2, 2), metadata=None)
        bench_regions(program, slide, 224, 1000, options.rounds, folder)
        large = folder / "large.tif"  # 20,480 x 20,480: the cut's tiles over and over, more than any cache holds
        tiles = (pixels[y % 32 * 256:y % 32 * 256 + 256, x % 32 * 256:x % 32 * 256 + 256]
                 for y in range(80) for x in range(80))
        tifffile.imwrite(large, tiles, shape=(20480, 20480, 3), dtype=numpy.uint8, photometric="ycbcr",
                         tile=(256, 256), compression="jpeg", compressionargs={"level": 85}, subsampling=(2, 2),
                         metadata=None)
        bench_regions(program, large, 224, 1000, options.rounds, folder)
        small = pathlib.Path(options.data) / "tiff" / "cmu1_small_region.svs"
        bench_regions(program, small, 224, 1000, options.rounds, folder)
        bench_crops(program, slide, 256, 224, 3000, options.rounds, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
