"""Recorded references of histology_test.c: what scikit-image, OpenCV, Pillow, scipy, numpy and torchstain give for
small pictures that the test draws itself, and for regions of the real samples.

    python3 tests/data/reference_histology.py DATA_DIRECTORY

Needs numpy, scipy, pillow, scikit-image, opencv-python-headless 4.11, torch and torchstain 1.4.1. Writes
tests/data/reference/histology.txt: lines `name count value ...`, or for whole planes `name count fnv64`.
"""
import sys
from pathlib import Path

import cv2
import numpy as np
import scipy.ndimage as ndi
import skimage.color
import skimage.filters
import skimage.measure
import skimage.morphology as morph
import torch
from PIL import Image
from torchstain.torch.normalizers.macenko import TorchMacenkoNormalizer

Image.MAX_IMAGE_PIXELS = None
data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data")
lines = []


def numbers(name, values):
    values = np.asarray(values).ravel()
    lines.append(f"{name} {values.size} " + " ".join(f"{float(v):.12g}" for v in values))


def fnv(values):
    """FNV-1a over 64-bit words, a byte or an int32 a word: the same in C in one line."""
    h = np.uint64(14695981039346656037)
    h = int(h)
    for v in np.ascontiguousarray(values).ravel().tolist():
        h = ((h ^ (int(v) & 0xFFFFFFFF)) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return h


def plane(name, values):
    lines.append(f"{name} {values.size} {fnv(values)}")


def drawn(width, height, seed):
    """The test's noise: xorshift32 bytes; three a pixel."""
    out = np.empty(width * height * 3, np.uint8)
    s = seed
    for i in range(out.size):
        s ^= (s << 13) & 0xFFFFFFFF
        s ^= s >> 17
        s ^= (s << 5) & 0xFFFFFFFF
        out[i] = s >> 24
    return out.reshape(height, width, 3)


# ---- colours: 65^3 of them for the integer conversions
step = np.array([min(v, 255) for v in range(0, 256 + 3, 4)], np.uint8)  # 65 levels
cube = np.stack(np.meshgrid(step, step, step, indexing="ij"), -1).reshape(1, -1, 3)
plane("gray_pillow", np.asarray(Image.fromarray(cube).convert("L")))
plane("gray_opencv", cv2.cvtColor(cube, cv2.COLOR_RGB2GRAY))
plane("hsv_pillow", np.asarray(Image.fromarray(cube).convert("HSV")))
plane("rgb_from_hsv_pillow", np.asarray(Image.fromarray(cube, "HSV").convert("RGB")))
plane("hsv_opencv", cv2.cvtColor(cube, cv2.COLOR_RGB2HSV))
hsv = cube.copy()
hsv[..., 0] = np.minimum(hsv[..., 0], 179)
whole = np.pad(hsv, ((0, 0), (0, 64), (0, 0)))  # OpenCV rounds pixels that do not fill a vector: keep them off
plane("rgb_from_hsv_opencv", cv2.cvtColor(whole, cv2.COLOR_HSV2RGB)[:, : hsv.shape[1]])
noise = drawn(37, 23, 7)
some = noise[:2] / 255.0
some[0, 0] = 0, 0, 0
some[0, 1] = 1, 1, 1
some[0, 2] = 0.5, 0.5, 0.5
numbers("some", some)
numbers("hsv_float", skimage.color.rgb2hsv(some))
numbers("rgb_from_hsv_float", skimage.color.hsv2rgb(some))
numbers("hed_float", skimage.color.rgb2hed(some))
numbers("rgb_from_hed_float", skimage.color.hed2rgb(some / 8))
numbers("lab_float", skimage.color.rgb2lab(some))
labs = some * [100, 60, 60] - [0, 30, 30]
numbers("rgb_from_lab_float", skimage.color.lab2rgb(labs))
gray = noise[..., 0].copy()
numbers("gray_601", cv2.cvtColor((noise / 255).astype(np.float32), cv2.COLOR_RGB2GRAY)[:3])
numbers("gray_709", skimage.color.rgb2gray((noise / 255).astype(np.float32))[:3])

# ---- thresholds
for k, name in enumerate(["otsu_noise", "otsu_two"]):
    g = gray if k == 0 else np.where(gray > 100, 200, np.where(gray > 50, 60, 55)).astype(np.uint8)
    t = skimage.filters.threshold_otsu(g)
    assert t == cv2.threshold(g, 0, 255, cv2.THRESH_OTSU)[0], (t, cv2.threshold(g, 0, 255, cv2.THRESH_OTSU)[0])
    numbers(name, [t])
numbers("percentiles_linear", np.percentile(gray.astype(np.float64) / 7, [0, 1, 25, 50, 73.3, 99, 100]))
numbers("percentiles_bytes", np.percentile(gray, [0, 1, 25, 50, 73.3, 99, 100]))

# ---- morphology
for density, limit in (("thin", 20), ("half", 128), ("thick", 235)):
    m = gray < limit
    for name, foot, cvfoot in (
        ("disk2", morph.disk(2), None),
        ("disk5", morph.disk(5), None),
        ("box", np.ones((3, 7), bool), None),
        ("diamond", morph.diamond(1), None),
        ("ellipse", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 7)), None),
    ):
        for mode, border in (("ignore", "ignore"), ("reflect", "reflect")):
            u = m.astype(np.uint8)
            key = f"{density}_{name}_{border}"
            plane("dilate_" + key, morph.dilation(u, foot, mode=mode))
            plane("erode_" + key, morph.erosion(u, foot, mode=mode))
            plane("close_" + key, morph.closing(u, foot, mode=mode))
            plane("open_" + key, morph.opening(u, foot, mode=mode))
        u = m.astype(np.uint8)
        assert (cv2.dilate(u, foot.astype(np.uint8)) == morph.dilation(u, foot, mode="ignore")).all()
        assert (cv2.erode(u, foot.astype(np.uint8)) == morph.erosion(u, foot, mode="ignore")).all()
    for c in (1, 2):
        labels = skimage.measure.label(m, connectivity=c)
        plane(f"label_{density}_{4 * c}", labels)
        props = skimage.measure.regionprops(labels)
        numbers(f"parts_{density}_{4 * c}", [v for p in props for v in
                (p.area, p.bbox[1], p.bbox[0], p.bbox[3], p.bbox[2], p.centroid[1], p.centroid[0])])
        plane(f"remove_{density}_{4 * c}", morph.remove_small_objects(m, max_size=3, connectivity=c))
        plane(f"fill_{density}_{4 * c}", morph.remove_small_holes(m, max_size=3, connectivity=c))
        structure = ndi.generate_binary_structure(2, c)
        plane(f"holes_{density}_{4 * c}", ndi.binary_fill_holes(m, structure))

# ---- filters
borders = (("reflect", cv2.BORDER_REFLECT, "reflect"), ("reflect101", cv2.BORDER_REFLECT_101, "mirror"),
           ("replicate", cv2.BORDER_REPLICATE, "nearest"), ("zero", cv2.BORDER_CONSTANT, "constant"))
for name, c, s in borders:
    for radius in (0, 1, 2, 3, 4, 9):
        for sigma in (0, 0.7, 1.4, 6):
            if radius == 0 and sigma == 0:
                continue
            k = 2 * radius + 1
            plane(f"gaussian_bytes_{name}_{radius}_{sigma}", cv2.GaussianBlur(noise, (k, k), sigma, borderType=c))
        plane(f"box_bytes_{name}_{radius}", cv2.blur(noise, (2 * radius + 1,) * 2, borderType=c))
    f = (gray / 255).astype(np.float32)
    for sigma in (0.5, 1.4, 8.0):
        numbers(f"gaussian_floats_{name}_{sigma}", ndi.gaussian_filter(f, sigma, mode=s)[::5, ::3])
    for radius in (0, 2, 30):
        numbers(f"box_floats_{name}_{radius}", ndi.uniform_filter(f, 2 * radius + 1, mode=s)[::5, ::3])
numbers("kernel_7_1.4", cv2.getGaussianKernel(7, 1.4))


# ---- Macenko
def stained(width, height, seed):
    """Two stains with smooth and random parts, from whole numbers so that the test draws the same."""
    n = drawn(width, height, seed).astype(np.int64)
    y, x = np.mgrid[:height, :width]
    h = (x * 7 + n[..., 0] // 4) % 90
    e = (y * 5 + n[..., 1] // 4) % 120
    rgb = np.stack([240 - (h * 3 + e) // 2, 235 - (h * 3 + e * 4) // 4, 245 - (h + e) // 2], -1)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def chw(rgb):
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def matrices(rgb):
    n = TorchMacenkoNormalizer()
    n.fit(chw(rgb))
    return n


source, target = stained(83, 61, 3), stained(70, 40, 11)
target = np.clip(target.astype(int) - [10, 25, 5], 0, 255).astype(np.uint8)
def exact(rgb):
    """The same fit in f64: torchstain's f32 sums over many pixels are off by up to 1e-3."""
    od = -np.log((rgb.reshape(-1, 3).astype(np.float64) + 1) / 240)
    kept = od[(od >= 0.15).all(1)]
    v = np.linalg.eigh(np.cov(kept.T))[1][:, [1, 2]]
    v = v * np.where(v.sum(0) < 0, -1, 1)
    that = kept @ v
    phi = np.sort(np.arctan2(that[:, 1], that[:, 0]))
    ends = [phi[round(0.01 * q * (phi.size - 1))] for q in (1, 99)]
    lo, hi = (v @ [np.cos(a), np.sin(a)] for a in ends)
    he = np.stack((lo, hi) if lo[0] > hi[0] else (hi, lo), 1)
    c = np.sort(np.linalg.lstsq(he, od.T, rcond=None)[0], axis=1)
    return he, c[:, round(0.99 * (c.shape[1] - 1))]


fits = {"source": source, "target": target}
c2 = Image.open(data / "her2st/images/C2.jpg")
for i, (x, y) in enumerate([(4600, 4600), (2600, 5200), (5600, 3300)]):
    fits[f"c2_{i}"] = np.asarray(c2.crop((x, y, x + 512, y + 512)).convert("RGB"))
fits["cmu1"] = np.asarray(Image.open(data / "tiff/cmu1_reference_x960_y1200_400x300.png").convert("RGB"))
for name, rgb in fits.items():
    n = matrices(rgb)
    numbers("he_" + name, n.HERef.numpy())
    numbers("maxc_" + name, n.maxCRef.numpy())
    he, maxc = exact(rgb)
    numbers("he64_" + name, he)
    numbers("maxc64_" + name, maxc)
reference = matrices(target)
out, _, _ = reference.normalize(chw(source), stains=False)
numbers("normalised", out.numpy())
reference = matrices(fits["c2_0"])
out, _, _ = reference.normalize(chw(fits["cmu1"]), stains=False)
out = out.numpy()
numbers("normalised_cmu1_every", out[::20, ::20])
numbers("normalised_cmu1_mean", out.reshape(-1, 3).mean(0))

# ---- rooms
rng = np.random.RandomState(46)
numbers("randint", [rng.randint(0, b) for b in (1744, 1718, 5, 1, 256, 257, 3, 1000000, 2, 1744)])
small = np.asarray(c2.resize((c2.width // 20, c2.height // 20), Image.BOX).convert("RGB"))
Image.fromarray(small).save(Path(__file__).parent / "reference/histology_c2.png", optimize=True)
f = (small / 255).astype(np.float32)
mean = f.mean(-1)
rng = np.random.RandomState(46)
side, found = 48, []
for _ in range(250):
    y, x = rng.randint(0, f.shape[0] - side), rng.randint(0, f.shape[1] - side)
    if (mean[y : y + side, x : x + side] < 0.8).mean() >= 0.6:
        found += [x, y]
        if len(found) == 10:
            break
numbers("patches", found)
mosaic = np.concatenate([small[y : y + side, x : x + side] for x, y in zip(found[::2], found[1::2])], 1)
n = matrices(mosaic)
numbers("he_mosaic", n.HERef.numpy())
numbers("maxc_mosaic", n.maxCRef.numpy())
he, maxc = exact(mosaic)
numbers("he64_mosaic", he)
numbers("maxc64_mosaic", maxc)
gray709 = skimage.color.rgb2gray(f)
average = float(gray709.mean(dtype=np.float64))
for name, threshold in (("0.85", 0.85), ("0.90", 0.90), ("0.60", 0.60), ("mean", average)):
    dark = (gray709 <= np.float32(threshold)).astype(np.uint8)
    m = morph.remove_small_holes(morph.closing(dark, morph.disk(2), mode="reflect") > 0, max_size=4999, connectivity=2)
    plane("background_" + name, m)
    numbers(f"background_count_{name}", [m.sum()])
gray601 = np.float32(0.299) * f[..., 0] + np.float32(0.587) * f[..., 1] + np.float32(0.114) * f[..., 2]
u = ((gray601 - gray601.min()) / (gray601.max() - gray601.min()) * np.float32(255)).astype(np.uint8)
b = cv2.GaussianBlur(u, (7, 7), 1.4)
dark = b < b.mean()
spots = [(x, y) for y in range(5, f.shape[0] + 20, 45) for x in range(3, f.shape[1] + 20, 45)]
valid = []
for x, y in spots:
    leaves = x < 13 or y < 13 or x + 13 > f.shape[1] or y + 13 > f.shape[0]
    valid.append(int(not leaves and dark[y - 13 : y + 13, x - 13 : x + 13].any()))
numbers("valid", valid)
pad = np.pad(small, ((39, 39), (39, 39), (0, 0)), mode="edge")
plane("tile_inside", pad[300:378, 200:278])
plane("tile_corner", pad[0:78, small.shape[1] - 1 : small.shape[1] + 77])
plane("subtile_5", pad[300:378, 200:278][26:52, 52:78])

(Path(__file__).parent / "reference/histology.txt").write_text("\n".join(lines) + "\n")
