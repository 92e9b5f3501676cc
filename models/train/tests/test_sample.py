"""The figures about samples are what `sample.py` says."""

import json
import pathlib
import stat
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import overlap
import sample


def test_repeated_runs():
    assert sample.repeated("a b c") == 0
    assert sample.repeated("a b c d e f") == 0
    # a b c d, b c d a, c d a b, d a b c, then a b c d again.
    assert sample.repeated("a b c d a b c d") == 1 - 4 / 5


def test_figures():
    stories = [{"finish": "eos", "text": "a b"}, {"finish": "length", "text": "a b c d a b c d"}]
    assert sample.figures(stories) == {"stories": 2, "ended": 0.5, "repeated": 0.1, "words": 5}


def test_tell_hands_flags_on(tmp_path):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$@" >"%s"\necho \'{"finish": "eos", "ids": [5, 6], "text": " end."}\'\n' % (tmp_path / "args"))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    told = sample.tell(str(program), "M", "A start", 3, ["--min-p", "0.1"])
    assert told == {"prompt": "A start", "seed": 3, "finish": "eos", "tokens": 2, "text": "A start end."}
    assert (tmp_path / "args").read_text() == "generate M --prompt A start --seed 3 --json --min-p 0.1\n"
    assert json.dumps(told)


def test_twenty_prompts():
    assert len(sample.PROMPTS) == 20 == len(set(sample.PROMPTS))


def test_overlap_counts_runs():
    held = [overlap.words_of("The cat sat, and the cat ran.")]
    assert overlap.share(held, [overlap.words_of("Look! THE CAT SAT down.")], 3) == (1, 5)
    assert overlap.share(held, [overlap.words_of("no")], 3) == (0, 5)
