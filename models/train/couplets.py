"""Lines for the style `rhymes`, all of them ours: five stages of a small adventure, told in couplets.

{N} and {n} name the hero at the head of a sentence and inside one, {s} is she or he, {p} her or his.
A stroke divides a couplet's two lines. `FAMILIES` says which last words rhyme, for the tests.
"""

OUT = """
{N} woke up with the morning sun/And said, "Today we'll have some fun!"
{N} put on a coat of red/And jumped right out of {p} warm bed.
{N} went walking down the lane/And splashed in puddles in the rain.
The sky was blue, the grass was green,/The nicest day {s} had ever seen.
{N} packed a basket full of bread/And followed where the footpath led.
{N} ran outside to fly a kite/That was so big and red and bright.
{N} skipped along beside the sea/And sang a song for you and me.
{N} took a boat out on the lake/And brought along a piece of cake.
{N} climbed the hill to reach the top/And did not even want to stop.
{N} went to see the garden grow/With little flowers in a row.
{N} heard the birds begin to sing/And knew that it was nearly spring.
The wind was soft, the day was new,/And {n} had so much to do.
"""
MEET = """
There in the grass there sat a frog/Who would not leave his mossy log.
Behind the tree there was a cat/Who wore a very tiny hat.
Beside the wall there lived a mouse/Who had a teacup for a house.
Upon the hill there sat a bear/Who combed his long and fuzzy hair.
There in the mud {s} saw a duck/Who cried, "Oh dear, I think I'm stuck!"
Along the path there came a fox/Who carried one enormous box.
A bunny hopped along the ground/And turned himself around, around.
A wise old owl sat in the tree/And said, "Good day, come up to me!"
A little bee came buzzing by/And said hello from in the sky.
There was a snail upon a stone/Who looked so small and so alone.
A goat was standing at the gate/And said, "You're only one day late!"
Down at the pond {s} saw a fish/Who said that {s} could make a wish.
"""
TROUBLE = """
But then the sky grew dark and gray/And all the sunshine went away.
But then the wind began to blow/And down came flakes of falling snow.
"My ball is lost!" {s} heard a cry./A tear was in the small one's eye.
"I lost my way back home," it said,/"And now I cannot go to bed."
"I am so hungry," said the friend./"When will this long day ever end?"
The bridge was broken right in two,/And no one knew what they should do.
Then something gave a great big roar,/And {n} hid behind the door.
{N} slipped and fell upon one knee/And cried beneath the apple tree.
The ball went splash into the well./"Oh no," said {n}, "there it fell!"
The night came down, the moon was high,/And stars were blinking in the sky.
"""
HELP = """
{N} took its hand and held it tight/And said, "It's going to be all right."
"Don't cry," said {n}, "I will stay/And help until you find your way."
{N} took a rope and threw it far/As if to catch a falling star.
{N} gave it half of all {p} cake/And milk to drink, for goodness' sake.
They looked up high, they looked down low,/They looked wherever they could go.
{N} had a lamp that shone so bright/It chased away the dark of night.
"I have a plan," said {n} then./"We'll count together up to ten."
They worked all day with stick and stone,/For no one has to work alone.
They had to push, they had to pull/Until the basket was quite full.
{N} told a joke, and how they laughed/While building up a little raft!
"""
HOME = """
And now they play there every day/And never want to go away.
The sun went down, the moon came out,/And that is what it's all about.
Then {n} said, "My dear new friend,/I'm glad this day had such an end."
{N} waved goodbye and went to bed/With happy dreams inside {p} head.
So {n} ran home to Mom and Dad/And told them what a day {s} had.
They ate some soup, they ate some pie,/And hugged and waved and said goodbye.
And in {p} bed {s} fell asleep/While counting one by one the sheep.
And if you go there, you may see/Those two good friends beneath the tree.
The stars came out, the day was done,/And both of them had lots of fun.
Be kind, be brave, and you will find/That other folk are good and kind.
"""
STAGES = [[tuple(line.split("/")) for line in s.strip().split("\n")] for s in (OUT, MEET, TROUBLE, HELP, HOME)]
FAMILIES = [
    "sun fun done", "red bed bread led head said", "lane rain", "green seen", "kite bright tight right night",
    "sea me tree see knee", "lake cake sake", "top stop", "grow row blow snow low go", "sing spring", "new do two",
    "frog log", "cat hat", "mouse house", "bear hair", "duck stuck", "fox box", "ground around", "by sky cry eye high pie goodbye",
    "stone alone", "gate late", "fish wish", "gray away stay way day", "friend end", "roar door", "well fell", "far star",
    "then ten", "pull full", "laughed raft", "out about", "dad had", "asleep sheep", "find kind",
]
