"""The styles do what their cards say."""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import styles


def test_couplets_rhyme():
    family = {w: i for i, f in enumerate(styles.RHYMES) for w in f.split()}
    for seed in range(200):
        lines = styles.rhyme(random.Random(seed)).split("\n\n")[1].split("\n")
        last = [line.rstrip(".,").split()[-1] for line in lines]
        assert len(last) % 2 == 0
        for a, b in zip(last[::2], last[1::2]):
            assert a != b and family[a] == family[b]


def test_dialogue_keeps_only_speech():
    story = 'Tom had a big red ball. "Look!" said Tom. "I see," said Mia. "Catch it!" "I will." They played.'
    assert styles.dialogue(story) == 'Tom had a big red ball.\n\n"Look!"\n\n"I see."\n\n"Catch it!"\n\n"I will."'
    assert styles.dialogue("Tom had a big red ball. He was glad.") is None
