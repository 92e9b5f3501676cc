"""Cards say what lies beside them."""

import hashlib
import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import card

MODELS = pathlib.Path(__file__).parents[2]
FOLDERS = [MODELS / "stories", MODELS / "stories-nf4", MODELS / "eval", *sorted((MODELS / "adapters").iterdir())]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_sums_in_the_shipped_cards(folder):
    listed = dict(re.findall(r"^\| `([^`]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M))
    files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.name != "README.md"}
    assert listed == files


def test_only_the_block_changes(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("head\n<!-- begin a -->\nold\n<!-- end a -->\ntail\n")
    card.replace(readme, "a", "new\n")
    card.replace(readme, "a", "newer\n")
    assert readme.read_text() == "head\n<!-- begin a -->\nnewer\n<!-- end a -->\ntail\n"
    with pytest.raises(ValueError, match="one block 'b'"):
        card.replace(readme, "b", "")


def test_samples_follow_the_rule(tmp_path):
    files = []
    for name in ("without", "with"):
        stories = [
            {"prompt": f"p{p}", "seed": s, "finish": "eos" if s else "length", "text": f"p{p} {name}\n\n{s}"}
            for p in range(7) for s in range(4)
        ]
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("\n".join(map(json.dumps, stories)) + "\n")
    text = card.samples(2, files)
    assert text.count("Seed 0, without") == text.count("Seed 1, with the") == 5
    assert text.startswith("Seed 0, without the adapter:\n\n> p0 without\n>\n> 0 [...]\n\nSeed 0, with the adapter:\n\n> p0 with\n")
    assert "p5" not in text and "Seed 2" not in text
    assert card.samples(1, files[:1]).startswith("Seed 0:\n\n> p0 without")
