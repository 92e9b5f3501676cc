"""Small stories told again in the English of old fairy tales, by rule: `retell(story, rng)`.

Words change, not events. "You" becomes thou or thee by the word that follows it; a contraction is
written out; a modern thing gets the name of its old neighbour.
"""

import random
import re

# "you" before one of these is a subject. Left: the word; right: its form after "thou".
THOU = {
    "are": "art", "were": "wert", "was": "wast", "have": "hast", "had": "hadst", "can": "canst", "could": "couldst",
    "will": "wilt", "would": "wouldst", "should": "shouldst", "shall": "shalt", "may": "mayest", "might": "mightest",
    "do": "dost", "did": "didst", "must": "must", "want": "wishest", "like": "likest", "need": "needest",
    "see": "seest", "know": "knowest", "think": "thinkest", "look": "lookest", "love": "lovest", "make": "makest",
    "feel": "feelest", "find": "findest", "get": "gettest", "go": "goest", "say": "sayest", "come": "comest",
    "give": "givest", "take": "takest", "play": "playest", "help": "helpest", "keep": "keepest", "try": "triest",
    "found": "foundest", "made": "madest", "helped": "helpedst", "saved": "savedst", "gave": "gavest", "saw": "sawest",
    "never": "never", "always": "always", "just": "but", "really": "truly", "all": "all", "still": "still", "also": "also",
    "too": "too", "don't": "dost not", "can't": "canst not", "didn't": "didst not", "won't": "wilt not",
    "shouldn't": "shouldst not", "couldn't": "couldst not", "aren't": "art not",
}
ASKED = "are were have had can could will would should shall may do did must".split()
FULL = {
    "i'm": "I am", "i'll": "I shall", "i've": "I have", "i'd": "I would", "don't": "do not", "doesn't": "does not",
    "didn't": "did not", "can't": "cannot", "couldn't": "could not", "wasn't": "was not", "weren't": "were not",
    "won't": "will not", "wouldn't": "would not", "isn't": "is not", "aren't": "are not", "shouldn't": "should not",
    "haven't": "have not", "hasn't": "has not", "hadn't": "had not", "it's": "it is", "that's": "that is",
    "let's": "let us", "we're": "we are", "we'll": "we shall", "they're": "they are", "there's": "there is",
    "what's": "what is", "where's": "where is", "we've": "we have", "it'll": "it will",
}
WORDS = {
    "very": "exceeding", "happy": "glad", "happily": "merrily", "excited": "merry", "girl": "maiden", "girls": "maidens",
    "boy": "lad", "boys": "lads", "mom": "mother", "mum": "mother", "mommy": "mother", "mama": "mother", "dad": "father",
    "daddy": "father", "dog": "hound", "dogs": "hounds", "puppy": "young hound", "house": "cottage", "park": "greenwood",
    "forest": "dark wood", "toy": "plaything", "toys": "playthings", "car": "cart", "truck": "wagon", "kids": "children",
    "saw": "beheld", "big": "great", "pretty": "fair", "beautiful": "fair", "maybe": "perchance", "because": "for",
    "before": "ere", "near": "nigh", "while": "whilst", "walked": "wandered", "looked": "gazed", "replied": "made answer",
    "lived": "dwelt", "said": "spake", "wanted": "wished", "listened": "hearkened", "listen": "hearken", "scared": "sore afraid",
    "afraid": "sore afraid", "sad": "sorrowful", "angry": "wroth", "mad": "wroth", "often": "oft", "quickly": "with all speed",
    "store": "market", "shop": "market", "money": "gold", "bike": "pony", "hungry": "an hungered", "between": "betwixt",
    "yes": "aye", "hello": "hail", "hi": "hail", "hey": "ho there", "wow": "behold", "okay": "so be it", "ok": "so be it",
    "goodbye": "farewell", "bye": "farewell", "please": "I pray thee", "suddenly": "lo and behold", "nothing": "naught",
    "everyone": "all the folk", "people": "folk", "kind": "gentle", "yard": "courtyard", "bad": "wicked", "mean": "wicked",
    "stick": "staff", "strong": "mighty", "enough": "enow",
}
PHRASES = [
    (r"\bthank you\b", "I thank thee"), (r"\byou're welcome\b", "thou art welcome"), (r"\bI'm (?:so |very )?sorry\b", "forgive me"),
    (r"\b(is|are|be|was|were|am|I'm|it's|he's|she's) (?:okay|ok)\b", r"\1 well"), (r"\bdon't worry\b", "fear not"),
    (r"\bhappily ever after\b", "in joy until the end of their days"), (r"\bat home\b", "by the hearth"),
    (r"\bwent home\b", "went homeward"),
    (r"(?:^|(?<=[.!?\"] ))one day, ", "now it came to pass that "), (r"\bthe next day\b", "on the morrow"),
    (r"(?:^|(?<=[.!?\"] ))but ", "yet "), (r"\bbecause of\b", "by reason of"),
    (r"\bno(?=[,!])", "nay"), (r"\byou both\b", "ye both"), (r"\byou two\b", "ye two"), (r"\byou guys\b", "ye"),
    (r"\byou're\b", "thou art"), (r"\byou'll\b", "thou shalt"), (r"\byou've\b", "thou hast"), (r"\byou'd\b", "thou wouldst"),
    (r"\byourself\b", "thyself"), (r"\byours\b", "thine"), (r"\byour(?= [aeiou])", "thine"), (r"\byour\b", "thy"),
    (r'([,!?]") (\w+) said\b', r"\1 quoth \2"), (r'([,!?]") said\b', r"\1 quoth"),
]
ENDINGS = [
    "And if they are not gone, they dwell there still.", "And so ends the tale, as my grandmother told it to me.",
    "And they lived in peace until the end of their days.",
]


def like(old: str, new: str) -> str:
    """`new` with a capital where `old` has one."""
    return new[0].upper() + new[1:] if old[0].isupper() else new


def retell(story: str, rng: random.Random) -> str:
    """The story in old English; half of all stories keep their first sentence, so that any opening will do."""
    head, rest = "", story
    first = re.match(r'[^"\n]{10,200}?[.!?]\s+', story)
    if first and rng.random() < 0.5:
        head, rest = first[0], story[first.end():]
    else:
        rest = re.sub(r"^Once upon a time,? ", "In days of old ", rest)
    return head + "\n\n".join(reword(p) for p in rest.split("\n\n")) + "\n\n" + rng.choice(ENDINGS)


def reword(text: str) -> str:
    """One paragraph."""
    for pattern, new in PHRASES:
        text = re.sub(pattern, lambda m: like(m[0], m.expand(new)), text, flags=re.I)
    asked = "|".join(ASKED)
    text = re.sub(rf"\b({asked}) you\b", lambda m: like(m[1], THOU[m[1].lower()]) + " thou", text, flags=re.I)
    verbs = "|".join(sorted(map(re.escape, THOU), key=len, reverse=True))
    text = re.sub(rf"\b([Yy]ou) ({verbs})\b", lambda m: like(m[1], "thou") + " " + THOU[m[2]], text)
    text = re.sub(r"\bYou\b", "Thou", text)
    text = re.sub(r"\byou\b", "thee", text)
    text = re.sub(r"\b\w+'\w+\b", lambda m: like(m[0], FULL[m[0].lower()]) if m[0].lower() in FULL else m[0], text)
    text = re.sub(r"\b[A-Za-z]+\b", lambda m: like(m[0], WORDS.get(m[0].lower(), m[0].lower())) if m[0].lower() in WORDS else m[0], text)
    text = re.sub(r"\b([Aa]) (?=[aeiou])(?!one\b|us|uni)", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[b-df-gj-np-tv-z])", r"\1 ", text)
