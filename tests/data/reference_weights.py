"""Writes the files of tests/data/reference/weights and weights.json beside them: what torch and NumPy say is inside.

python tests/data/reference_weights.py        (needs torch, numpy, safetensors; the C tests need none of them)
"""

import argparse, collections, io, json, os, pickle, shutil, sys, types, zipfile
import numpy as np
import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference")
OUT = os.path.join(HERE, "weights")
NAMES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
}
NUMPY = {
    "f4": "F32",
    "f8": "F64",
    "f2": "F16",
    "i8": "I64",
    "i4": "I32",
    "i2": "I16",
    "i1": "I8",
    "u1": "U8",
    "b1": "BOOL",
    "u2": "U16",
    "u4": "U32",
    "u8": "U64",
}
files = {}


def described(value):
    if isinstance(value, torch.Tensor):
        wide = value.detach().to(torch.float64)
        return {
            "dtype": NAMES[value.dtype],
            "shape": list(value.shape),
            "values": wide.contiguous().flatten().tolist(),
        }
    value = np.asarray(value)
    if value.dtype.kind in "US":
        texts = value.flatten().tolist()
        return {"texts": [t.decode() if isinstance(t, bytes) else t for t in texts], "shape": list(value.shape)}
    return {
        "dtype": NUMPY[value.dtype.str[1:]],
        "shape": list(value.shape),
        "values": value.astype(np.float64).flatten().tolist(),
    }


def note(name, kind, tensors, texts=None, facts=None):
    files[name] = {
        "kind": kind,
        "tensors": {k: described(v) for k, v in tensors.items()},
        "texts": texts or {},
        "facts": facts or {},
    }


def path(name):
    return os.path.join(OUT, name)


def every_dtype():
    g = torch.Generator().manual_seed(7)
    real = torch.randn(3, 4, generator=g)
    d = {}
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        d[str(dtype)[6:]] = real.to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8):
        d[str(dtype)[6:]] = torch.tensor([-3, 0, 100], dtype=dtype)
    d["uint8"] = torch.tensor([0, 255, 7], dtype=torch.uint8)
    d["bool"] = torch.tensor([True, False, True])
    d["half_odd"] = torch.tensor([6e-8, -6.1e-5, 65504.0, -0.0], dtype=torch.float16)
    d["scalar"] = torch.tensor(2.5)
    d["empty"] = torch.zeros(0, 5)
    return d


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    d = every_dtype()
    torch.save(d, path("types.pt"))
    note("types.pt", "torch archive", d)
    torch.save(d, path("types_stream.pt"), _use_new_zipfile_serialization=False)
    note("types_stream.pt", "torch stream", d)
    wide = {
        "u16": torch.tensor([1, 65535], dtype=torch.uint16),
        "u32": torch.tensor([1, 2**32 - 1], dtype=torch.uint32),
        "u64": torch.tensor([1, 2**63], dtype=torch.uint64),
    }
    torch.save(wide, path("unsigned.pt"))
    note("unsigned.pt", "torch archive", wide)

    base = torch.arange(60.0).reshape(3, 4, 5)
    views = {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "offset": base[1:, 2:, 1::2],
        "row": base[2, 1],
        "expanded": torch.arange(3.0)[:, None].expand(3, 4),
        "again": base,
        "one": base[1, 1, 1],
    }
    for name, stream in (("views.pt", True), ("views_stream.pth", False)):
        torch.save(views, path(name), _use_new_zipfile_serialization=stream)
        note(name, "torch archive" if stream else "torch stream", views)

    torch.manual_seed(3)
    model = torch.nn.Sequential(
        collections.OrderedDict(
            encoder=torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)),
            head=torch.nn.Linear(3, 2, bias=False),
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(name="run", depth=3, rate=0.5, flags=[True, None], device=torch.device("cpu"))
    checkpoint = {
        "epoch": 12,
        "best": 0.25,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": args,
        "shape": torch.Size([2, 3]),
        "large": 2**70,
        "minus": -(2**40),
        "dtype": torch.float32,
        "classes": {"b", "a"},
        "note": "naïve ✓",
        "counts": collections.defaultdict(int, {"x": 1}),
    }
    tensors = {"state_dict." + k: v for k, v in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.state.{i}.{k}": v for k, v in state.items()})
    facts = {
        "epoch": "12",
        "best": "0.25",
        "args.name": "run",
        "args.depth": "3",
        "args.rate": "0.5",
        "args.device": "cpu",
        "minus": str(-(2**40)),
        "note": "naïve ✓",
        "counts.x": "1",
    }
    for protocol in (1, 2, 3, 4, 5):
        name = f"checkpoint_p{protocol}.pth"
        torch.save(checkpoint, path(name), pickle_protocol=protocol)
        note(name, "torch archive", tensors, facts=facts)
    torch.save(checkpoint, path("checkpoint_stream.bin"), _use_new_zipfile_serialization=False)
    note("checkpoint_stream.bin", "torch stream", tensors, facts=facts)
    torch.save(torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)), path("bare.pt"))
    note("bare.pt", "torch archive", {"tensor": torch.arange(6.0).reshape(2, 3)})
    torch.serialization.set_crc32_options(False)
    torch.save({"a": torch.arange(5.0)}, path("unchecked.pt"))
    torch.serialization.set_crc32_options(True)
    note("unchecked.pt", "torch archive", {"a": torch.arange(5.0)})
    # the same archive with deflated entries, and one that another program wrote with zip64 fields
    for name, method, force in (("deflated.pt", zipfile.ZIP_DEFLATED, False), ("zip64.pt", zipfile.ZIP_STORED, True)):
        with zipfile.ZipFile(path("views.pt")) as source, zipfile.ZipFile(path(name), "w", method) as target:
            for info in source.infolist():
                with target.open(
                    zipfile.ZipInfo(info.filename) if method == zipfile.ZIP_STORED else info.filename,
                    "w",
                    force_zip64=force,
                ) as out:
                    out.write(source.read(info))
        note(name, "torch archive", views)

    # what the systems write
    feature = {
        "features": torch.arange(12.0).reshape(3, 4),
        "coords": torch.ones(3, 2),
        "barcodes": ["AAA-1", "CCC-1", "GGG-1"],
    }
    torch.save(feature, path("features.pt"))
    note(
        "features.pt",
        "torch archive",
        {k: feature[k] for k in ("features", "coords")},
        {"barcodes": feature["barcodes"]},
    )
    rng = np.random.default_rng(5)
    tile = {
        "tile": rng.random((6, 6, 3), dtype=np.float32),
        "subtiles": rng.random((9, 2, 2, 3), dtype=np.float32),
        "label": np.arange(35, dtype=np.float32),
        "source_idx": 4,
        "slide_idx": "S_1",
        "position": np.array([1.5, 2.5], np.float32),
    }
    torch.save(tile, path("tile.pt"))
    note(
        "tile.pt",
        "torch archive",
        {k: v for k, v in tile.items() if isinstance(v, np.ndarray)},
        facts={"source_idx": "4", "slide_idx": "S_1"},
    )
    lists = {
        "tiles": [tile["tile"], tile["tile"] * 2],
        "subtiles": [[tile["subtiles"][i] for i in range(2)]],
        "source_idx": [0, 1],
    }
    torch.save(lists, path("tiles.pt"))
    note(
        "tiles.pt",
        "torch archive",
        {
            "tiles.0": lists["tiles"][0],
            "tiles.1": lists["tiles"][1],
            "subtiles.0.0": lists["subtiles"][0][0],
            "subtiles.0.1": lists["subtiles"][0][1],
        },
    )
    graph = make_graph()
    torch.save(graph, path("graph.pt"))
    mapping = graph.__dict__["_store"].__dict__["_mapping"]
    note(
        "graph.pt",
        "torch archive",
        {k: v for k, v in mapping.items() if isinstance(v, torch.Tensor)},
        {"spot_id": mapping["spot_id"]},
    )

    # plain pickles: every protocol, NumPy arrays of every kind, numbers
    arrays = {
        "c": np.arange(6, dtype=np.int32).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(20, dtype=np.int16)[::3],
        "bytes": np.array([b"ab", b"c"]),
        "words": np.array([["é", "abc"]]),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 2), np.float32),
        "u64": np.array([2**63], np.uint64),
    }
    numbers = {
        "f4": np.float32(0.5),
        "i8": np.int64(-7),
        "b": np.bool_(True),
        "s": np.str_("été"),
        "int": 65536,
        "neg": -1,
        "third": 1 / 3,
        "none": None,
        "text": "quote \"' \\ line\n ü ✓",
        "raw": b"\x00\xff",
        "t": (1, (2, 3), []),
    }
    shared = {"arrays": arrays, "numbers": numbers, "names": ["B", "T"], "set": {1, 2}, "frozen": frozenset([1])}
    shared["self"] = shared
    shared["twice"] = [shared["names"], shared["names"]]
    for protocol in range(6):
        name = f"plain_p{protocol}.pkl"
        with open(path(name), "wb") as out:
            pickle.dump(shared, out, protocol)
        note(
            name,
            "pickle",
            {"arrays." + k: v for k, v in arrays.items() if v.dtype.kind not in "US"},
            {"names": ["B", "T"], "arrays.words": ["é", "abc"], "arrays.bytes": ["ab", "c"]},
            {
                "numbers.f4": "0.5",
                "numbers.i8": "-7",
                "numbers.b": "true",
                "numbers.s": "été",
                "numbers.int": "65536",
                "numbers.neg": "-1",
                "numbers.third": repr(1 / 3),
                "numbers.text": numbers["text"],
            },
        )

    # NumPy's own files
    for name, array, version in (
        ("v1.npy", np.arange(6, dtype=np.float32).reshape(2, 3), (1, 0)),
        ("v2.npy", np.arange(6, dtype=np.int64), (2, 0)),
        ("v3.npy", np.array(["α", "beta"]), (3, 0)),
        ("fortran.npy", np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), (1, 0)),
        ("half.npy", np.array(1.5, np.float16), (1, 0)),
        ("empty.npy", np.zeros((0, 3), np.uint8), (1, 0)),
    ):
        with open(path(name), "wb") as out:
            np.lib.format.write_array(out, array, version)
        note(
            name,
            "NPY",
            {} if array.dtype.kind == "U" else {"tensor": array},
            {"tensor": array.tolist()} if array.dtype.kind == "U" else {},
        )
    npz = {
        "a": np.arange(5, dtype=np.uint16),
        "b/c": np.asfortranarray(np.ones((2, 2))),
        "names": np.array(["x", "yy"]),
    }
    for name, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        save(path(name), **npz)
        note(name, "NPZ", {k: v for k, v in npz.items() if k != "names"}, {"names": ["x", "yy"]})
    from safetensors.torch import save_file

    st = {k: v.contiguous() for k, v in d.items()}
    save_file(st, path("types.safetensors"), metadata={"format": "pt"})
    note("types.safetensors", "safetensors", st, facts={"format": "pt"})

    refused()
    with open(os.path.join(HERE, "weights.json"), "w") as out:
        json.dump({"files": files}, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
    print(
        "files:",
        len(files),
        "bytes:",
        sum(os.path.getsize(path(f)) for f in os.listdir(OUT)),
        os.path.getsize(os.path.join(HERE, "weights.json")),
    )


class Odd:
    """A class of the user's own."""


def make_graph():
    """What torch_geometric pickles, by classes of the same names: the package itself is not needed."""
    for module in (
        "torch_geometric",
        "torch_geometric.data",
        "torch_geometric.data.data",
        "torch_geometric.data.storage",
    ):
        sys.modules[module] = types.ModuleType(module)

    def named(module, name):
        cls = type(name, (), {"__module__": module})
        setattr(sys.modules[module], name, cls)
        return cls

    Data, Storage = named("torch_geometric.data.data", "Data"), named("torch_geometric.data.storage", "GlobalStorage")
    tensor_attr, edge_attr = (named("torch_geometric.data.data", n) for n in ("DataTensorAttr", "DataEdgeAttr"))
    data, store = Data(), Storage()
    store._mapping = {
        "x": torch.arange(24.0).reshape(2, 3, 2, 2),
        "edge_index": torch.tensor([[0, 0, 1], [0, 1, 1]]),
        "y": torch.ones(2, 5),
        "pos": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "spot_id": ["A_1", "A_2"],
    }
    store._parent = data
    data._edge_attr_cls, data._tensor_attr_cls, data._store = edge_attr, tensor_attr, store
    return data


def refused():
    """Files that must be refused, and a part of the message."""

    def refuse(name, part):
        files[name] = {"refused": part}

    torch.save({"z": torch.zeros(2, dtype=torch.complex64)}, path("bad_complex.pt"))
    refuse("bad_complex.pt", "'ComplexFloatStorage' of module 'torch'")
    torch.save({"s": torch.eye(2).to_sparse()}, path("bad_sparse.pt"))
    refuse("bad_sparse.pt", "'_rebuild_sparse_tensor'")
    torch.save(torch.nn.Linear(2, 2), path("bad_module.pt"))
    refuse("bad_module.pt", "'Linear' of module 'torch.nn.modules.linear'")
    for stream in (True, False):
        name = "bad_user.pt" if stream else "bad_user_stream.pt"
        torch.save({"o": Odd()}, path(name), _use_new_zipfile_serialization=stream)
        refuse(name, "'Odd' of module '__main__'")
    torch.jit.script(torch.nn.Linear(2, 2)).save(path("bad_script.pt"))
    refuse("bad_script.pt", "TorchScript program")
    with zipfile.ZipFile(path("features.pt")) as source, zipfile.ZipFile(path("bad_order.pt"), "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, b"big" if info.filename.endswith("byteorder") else source.read(info))
    refuse("bad_order.pt", "is big-endian")
    for name, array, part in (
        ("bad_object.npy", np.array([None, 1], object), "Python objects are not read"),
        ("bad_record.npy", np.zeros(2, [("x", "f4"), ("y", "i4")]), "is a record"),
        ("bad_order.npy", np.arange(3, dtype=">f4"), "is big-endian"),
        ("bad_complex.npy", np.zeros(2, np.complex64), "complex numbers are not read"),
        ("bad_date.npy", np.zeros(2, "M8[s]"), "dates and durations"),
    ):
        np.save(path(name), array)
        refuse(name, part)
        with open(path(name.replace(".npy", ".pkl")), "wb") as out:
            pickle.dump({"a": array}, out, 4)
        refuse(
            name.replace(".npy", ".pkl"),
            {
                "bad_record.npy": "raw bytes are not read",
                "bad_object.npy": "Python objects are not read",
                "bad_order.npy": "big-endian",
            }.get(name, part),
        )


if __name__ == "__main__":
    main()
