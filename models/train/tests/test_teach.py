"""A student learns from labels that teachers wrote."""

import json
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import pretrain
import teach
from test_resume import SHAPE, run  # noqa: F401 - a fixture

RECIPES = {
    "teacher1": SHAPE | dict(seed=1, steps=2, tokens=480),
    "teacher2": SHAPE | dict(seed=2, steps=2, tokens=480),
    "student": SHAPE | dict(seed=3, steps=3, tokens=480, soft=0.9),
}


@pytest.fixture
def labelled(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pretrain, "RECASTS", 1)
    monkeypatch.setattr(pretrain.files_of, "__defaults__", (1,))
    (run / "recipes.json").write_text(json.dumps({k: v | {"recasts": 1} for k, v in RECIPES.items()}))
    for name in ("teacher1", "teacher2"):
        pretrain.main([str(run), name, "--recipes", str(run / "recipes.json")])
    teach.label(run, ["teacher1-mean", "teacher2-mean"])
    return run


def test_labels_are_rows_of_chances_for_every_token(labelled):
    tokens = sum(len(np.load(labelled / "tokens" / f"train-{n}.npz")["ids"]) for n in ("tinystories", "recast0"))
    likely, chance = (np.load(labelled / "soft" / f"tinystories.{k}.npy") for k in ("likely", "chance"))
    assert likely.shape == chance.shape == (tokens, teach.K)
    assert (np.diff(chance.astype(float), axis=1) <= 0).all()
    assert chance.sum(1).max() <= 1.001
    assert likely.min() >= 0 and likely.max() < 256


def test_student_reads_them(labelled):
    pretrain.main([str(labelled), "student", "--recipes", str(labelled / "recipes.json")])
    assert (labelled / "student-mean" / "model.safetensors").exists()
