/** All English words of the views but the first, in one place of the script: text beside text compresses better. */

import "./words/block.en";
import "./words/blocksize.en";
import "./words/contest.en";
import "./words/controls.en";
import "./words/double.en";
import "./words/layers.en";
import "./words/lora.en";
import "./words/map.en";
import "./words/side.en";
import "./words/snippet.en";
import "./words/teacher.en";
import "./words/weight.en";
import "./words/yours.en";
