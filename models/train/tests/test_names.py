"""`recast` gives every known name one new name, of the same kind, and touches nothing else."""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import names

STORY = "Lily met Tim. \"Tim, come!\" said Lily. Tim's dog Rex barked at the timid lily."


def test_lists_do_not_overlap():
    assert not set(names.GIRLS) & set(names.BOYS)


def test_cast_is_in_order():
    assert names.cast(STORY) == ["Lily", "Tim"]


def test_one_new_name_each_all_through():
    for seed in range(50):
        new = names.recast(STORY, random.Random(seed), keep=0.0)
        girl, boy = names.cast(new)
        assert girl in names.GIRLS and girl != "Lily"
        assert boy in names.BOYS and boy != "Tim"
        assert new == STORY.replace("Lily", girl).replace("Tim", boy)


def test_no_two_share_a_name():
    story = "Tim, Tom and Ben saw Max."
    for seed in range(50):
        assert len(names.cast(names.recast(story, random.Random(seed)))) == 4


def test_seeded():
    assert names.recast(STORY, random.Random(3)) == names.recast(STORY, random.Random(3))
