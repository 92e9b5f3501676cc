"""The styles do what their cards say."""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import couplets
import olden
import styles

RHYMING = {word: i for i, family in enumerate(couplets.FAMILIES) for word in family.split()}


def ending(line: str) -> str:
    return line.rstrip('.,!?"').split()[-1].lower()


def test_every_couplet_rhymes():
    for stage in couplets.STAGES:
        assert len(stage) >= 10
        for first, second in stage:
            assert ending(first) != ending(second)
            assert RHYMING[ending(first)] == RHYMING[ending(second)], (first, second)


def test_no_word_rhymes_with_two_families():
    assert len(RHYMING) == sum(len(f.split()) for f in couplets.FAMILIES)


def test_verse_is_about_the_hero_of_its_opening():
    for seed in range(100):
        told = styles.rhyme("Once there was a girl named Lily.", random.Random(seed))
        opening, verse = told.split("\n\n")
        assert opening == "Once there was a girl named Lily."
        lines = verse.split("\n")
        assert 10 <= len(lines) <= 14 and len(lines) % 2 == 0
        assert "{" not in verse and " He " not in verse
        for a, b in zip(lines[::2], lines[1::2]):
            assert RHYMING[ending(a)] == RHYMING[ending(b)]


def test_hero():
    assert styles.hero_of("One day, Tom went out.") == ("Tom", "he")
    assert styles.hero_of("There was a big dog who lived in a house.") == ("the dog", "he")
    assert styles.hero_of("Tom met Lily.") is None
    assert styles.hero_of("A dog met a cat.") is None
    assert styles.rhyme("It rained.", random.Random(0)) is None


def test_dialogue_keeps_only_speech():
    story = 'Tom had a big red ball. "Look!" said Tom. "I see," said Mia. "Catch it!" "I will." They played.'
    assert styles.dialogue(story) == 'Tom had a big red ball.\n\n"Look!"\n\n"I see."\n\n"Catch it!"\n\n"I will."'
    assert styles.dialogue("Tom had a big red ball. He was glad.") is None


def test_old_english():
    cases = {
        '"Can you help me?" Tom asked.': '"Canst thou help me?" Tom asked.',
        'You are very happy.': "Thou art exceeding glad.",
        "I will go with you to your old house.": "I will go with thee to thine old cottage.",
        '"I don\'t know," said the girl.': '"I do not know," quoth the maiden.',
        '"Yes!" Lily said. One day, she saw a big dog.': '"Aye!" quoth Lily. Now it came to pass that she beheld a great hound.',
        "Thank you, Mom! You're kind.": "I thank thee, Mother! Thou art gentle.",
        "But he was sad because of the rain.": "Yet he was sorrowful by reason of the rain.",
        "He was a happy boy.": "He was a glad lad.",
    }
    for modern, old in cases.items():
        assert olden.reword(modern) == old


def test_old_tale_has_an_ending_and_is_seeded():
    story = "Once upon a time, there was a girl. She had a dog."
    told = {olden.retell(story, random.Random(seed)) for seed in range(50)}
    assert all(t.split("\n\n")[-1] in olden.ENDINGS for t in told)
    # Half begin with the first sentence as it was.
    assert {t.split(". ")[0] for t in told} == {"Once upon a time, there was a girl", "In days of old there was a maiden"}
    assert olden.retell(story, random.Random(7)) == olden.retell(story, random.Random(7))
