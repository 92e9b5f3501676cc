"""A run that is stopped and started again ends where one that was not ends."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import checkpoint
import data
import pretrain
from safetensors.torch import load_file

SHAPE = dict(hidden=64, layers=2, heads=2, kv_heads=1, inner=64, vocab=256)


@pytest.fixture
def run(tmp_path):
    """A run folder of random stories, and a recipe of eight small steps with dropout."""
    rng = np.random.default_rng(0)
    (tmp_path / "tokens").mkdir()
    for name in [f"{s}-{p}" for s in ("train", "val") for p in ("tinystories", "storybooks", "publicdomain")] + ["train-recast0"]:
        lengths = rng.integers(20, 120, 12)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        ids = rng.integers(1, 256, starts[-1] + 1)
        ids[starts] = 0
        np.savez(tmp_path / "tokens" / f"{name}.npz", ids=ids.astype(np.uint16), starts=starts)
    recipe = SHAPE | dict(seed=1, steps=8, tokens=480, dropout=0.2, recasts=1)
    (tmp_path / "recipes.json").write_text(json.dumps({"tiny": recipe}))
    return tmp_path


def train(run, *flags):
    pretrain.main([str(run), "tiny", "--recipes", str(run / "recipes.json"), *flags])


def result(run):
    return load_file(run / "tiny" / "model.safetensors") | {f"mean {k}": v for k, v in load_file(run / "tiny-mean" / "model.safetensors").items()}


def test_resumed_run_is_equal_bit_for_bit(run):
    train(run)
    whole = result(run)
    shutil.rmtree(run / "tiny")
    shutil.rmtree(run / "tiny-mean")
    for stop in ("3", "6"):
        train(run, "--until", stop)
        assert not (run / "tiny-mean").exists()
        assert json.loads((run / "tiny" / "checkpoint" / "progress.json").read_text())["step"] == int(stop)
    train(run)
    again = result(run)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    assert not (run / "tiny" / "checkpoint").exists()


def test_weights_alone_go_on(run):
    train(run, "--until", "4")
    for file in (run / "tiny" / "checkpoint").glob("rest-*"):
        file.unlink()
    train(run)
    assert json.loads((run / "tiny" / "log.jsonl").read_text().splitlines()[-1])["step"] == 8


def test_parts_are_small_and_complete():
    tensors = {f"t{i}": torch.arange(100.0) + i for i in range(10)}
    parts = checkpoint.parts_of(tensors, limit=1000)
    assert [list(p) for p in parts] == [[f"t{i}", f"t{i + 1}"] for i in range(0, 10, 2)]
    assert all(torch.equal(p[k], tensors[k]) for p in parts for k in p)
    with pytest.raises(ValueError, match="t0: 400 bytes"):
        checkpoint.parts_of(tensors, limit=399)


def test_interrupted_save_leaves_the_older_one(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, {"w": torch.ones(2)}, {}, {"step": 1})

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(checkpoint, "save_file", fail)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(folder, {"w": torch.zeros(2)}, {}, {"step": 2})
    weights, rest, progress = checkpoint.load(folder)
    assert progress == {"step": 1} and rest == {} and weights["w"].tolist() == [1, 1]


def test_source_goes_on(run):
    files = [run / "tokens" / "train-tinystories.npz"]
    whole = data.Source(files, 5, 64)
    taken = [whole.take(300)[0] for _ in range(8)]
    half = data.Source(files, 5, 64)
    for _ in range(4):
        half.take(300)
    new = data.Source(files, 99, 64)
    new.restore(json.loads(json.dumps(half.state())))
    assert all(np.array_equal(new.take(300)[0], t) for t in taken[4:])
