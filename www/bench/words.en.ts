export const en = {
  title: "Nibblama: measure this device",
  heading: "How fast is this device?",
  lede: "This page times the code that writes the stories on the main page: first products with 4-bit weights by themselves, then whole Llamas with random weights. Every result is checked before it is timed. Nothing leaves this device.",
  advice: "It takes about a minute. Other tabs and programs that are busy make the numbers worse, and so does a battery that is saved.",
  models: "Models",
  small: "42 M weights",
  both: "42 M and 417 M weights",
  room: "The larger model needs about 1.5 GB of memory and a few minutes more.",
  start: "Measure",
  stop: "Stop",
  now: (what: string) => `Measuring: ${what}`,
  done: "Done.",
  stopped: "Stopped. What was measured until then is below.",
  failed: "The measurement failed.",
  builds: (one: string, many: string | null, threads: number) =>
    many === null
      ? `Build: ${one}. This page is not cross-origin isolated, or the device has one core, so only one thread is measured.`
      : `Builds: ${one} for one thread, ${many} for ${threads} threads.`,
  caption: "What was measured",
  columns: { what: "what", median: "median", min: "min", max: "max", unit: "unit" },
  none: "Nothing was measured yet.",
  designs: {
    caption: "Ways to compute fast arithmetic, as the engine timed them",
    design: "products",
    taken: "taken",
    yes: "yes",
    no: "no",
    names: { i16: "16-bit, near-exact", "i8-split": "8-bit halves, near-exact", "i8-pairs": "8-bit, added by twos", "i8-quads": "8-bit, added by fours" },
  },
  copyText: "Copy as text",
  copyJson: "Copy as JSON",
  copied: "Copied",
  meaning: "What the rows mean",
  explain: [
    "GB/s counts the bytes of the packed weights with their scales, GFLOP/s two operations for each weight and token.",
    "“cold” means that the matrix comes from memory each time, as in a model that no cache holds; its share of memory's speed compares with a loop that only reads, run right after it.",
    "prefill reads 128 tokens at once; decode reads 16 tokens one by one from an empty kv cache. Nothing is sampled.",
    "exact is f32 in a fixed order; near-exact multiplies 16-bit integers; fast multiplies 8-bit integers, which the main page does not do unless asked.",
    "Contenders take turns, round by round; the median of the rounds is what counts, min and max show how steady it was.",
  ],
  measurement: (name: string) => name,
};

export type Words = typeof en;
