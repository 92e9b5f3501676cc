/**
 * Every word of the page. `Strings` is the shape that each language fills: a missing key does not compile.
 * Names of APIs and formats (`NF4`, `absmax`, `Linear4bit`) stay as they are in code.
 */


export const en = {
  title: "Nibblama: a Llama in 4 bits, in this tab",
  skip: "Skip to the story",
  skipLab: "Skip to the views",
  language: "Language",
  theme: { label: "Colours", auto: "Auto", light: "Light", dark: "Dark" },
  help: "Keys and settings",
  close: "Close",

  hero: {
    heading: "A Llama in 4 bits, writing in this tab",
    lede: "Each weight of this language model is stored in half a byte: a nibble. See what that saves, what it costs, and why.",
    start: "Start: load the model",
    metered: (size: string) => `Your connection is metered, so nothing is loaded until you ask. The model is ${size}.`,
    meteredUnknown: "Your connection is metered, so nothing is loaded until you ask.",
    loading: "Loading the model",
    engine: "Starting the engine",
    headers: "Reading the model's headers",
    weights: (done: string, total: string) => `${done} of ${total} of weights`,
    facts: (parameters: string, layers: number, hidden: number) =>
      `${parameters} parameters in ${layers} layers, hidden size ${hidden}`,
    reading: "Reading the prompt",
    storyLabel: "The story",
    prompt: "Prompt",
    write: "Write",
    stop: "Stop",
    examples: "Examples",
    exampleTexts: ["Once upon a time", "The little fox was afraid of", "Tom found a key under"],
    temperature: "Temperature",
    seed: "Seed",
    again: "Another seed",
    settings: "Sampling",
    speed: "tokens per second",
    memory: "memory the model holds",
    wasm: "memory of the tab's engine",
    build: "build",
    threads: (n: number) => (n === 1 ? "1 thread" : `${n} threads`),
    relaxed: "relaxed SIMD",
    simd128: "SIMD",
    finished: {
      eos: "The model ended its story.",
      length: "Stopped at the length limit.",
      stop: "Stopped at a stop string.",
      context: "The context is full.",
      aborted: "Stopped by you.",
    },
  },

  build: {
    heading: "Which build runs, and why",
    runs: (name: string, threads: string, kernels: string) => `Running ${name}: ${threads}, kernels “${kernels}”.`,
    about:
      "The engine is built for several sets of processor instructions; the fastest that starts runs.",
    noIsolation:
      "This page is not cross-origin isolated (no COOP and COEP headers): without shared memory it runs on one thread, only slower.",
    passedOver: "Passed over",
  },

  bars: {
    heading: "How much memory?",
    thisModel: "This model",
    parameters: (n: string) => `${n} parameters`,
    f32: "f32",
    bf16: "bf16",
    printed: "NF4, printed",
    nf4: "NF4",
    nf4dq: "NF4 + double q.",
    takeaway: (name: string, f32: string, real: string, times: string) =>
      `${name} shrinks from ${f32} to ${real}: ${times} times smaller than f32.`,
    waiting: "Asking the engine for the sizes of both models.",
    printedNote: (printed: string) =>
      `get_memory_footprint() prints ${printed} with or without double quantization: it leaves out the scales (absmax).`,
  },

  views: {
    headline: { title: "Why is it not half a byte per weight?", short: "Where the bytes are" },
    weight: { title: "One weight", short: "One weight" },
    block: { title: "Block microscope", short: "Block" },
    blocksize: { title: "How long should a block be?", short: "Blocksize" },
    double: { title: "Double quantization", short: "Double quantization" },
    contest: { title: "Format contest", short: "Formats" },
    map: { title: "Tensor map", short: "Tensor map" },
    layers: { title: "Layer tree", short: "Layers" },
    side: { title: "Side by side", short: "Side by side" },
    lora: { title: "LoRA on 4\u2011bit weights", short: "LoRA" },
    yours: { title: "Your model", short: "Your model" },
    snippet: { title: "The snippet", short: "Snippet" },
    teacher: { title: "Teacher kit", short: "Teacher kit" },
  },
  nav: {
    label: "Views",
    start: "Story",
    mode: "Layout",
    story: "Story",
    lab: "Lab",
    next: "Next view",
    failed: "This view could not be fetched. Check the connection.",
    retry: "Try again",
    whole: "Open the whole page",
    bench: "All controls",
  },
  tools: {
    computing: "Computing from the weights …",
    table: "Table",
    hideTable: "Hide table",
    savePng: (title: string) => `Save “${title}” as PNG`,
    saveCsv: (title: string) => `Save the numbers of “${title}” as CSV`,
    explain: "Explain",
    more: (shown: number, all: number) => `The first ${shown} of ${all} rows; the CSV has all of them.`,
  },
  question: { predict: "Predict, then see", right: "Right.", wrong: "Not quite." },
  update: {
    ready: "A new version of this page is ready.",
    use: "Use it now",
    later: "Later",
  },

  quantize: {
    heading: "Quantize it here",
    about: (size: string) =>
      `Load the same model in full precision (${size}) and let this tab quantize it to NF4, tensor by tensor.`,
    aboutUnknown: "Load the same model in full precision and let this tab quantize it to NF4, tensor by tensor.",
    button: "Quantize it here",
    cancel: "Cancel",
    progress: (tensor: string, done: number, total: number) => `${done} of ${total} tensors: ${tensor}`,
    before: "Before: file in full precision",
    after: "After: held in this tab",
    took: (seconds: string) => `Quantized in ${seconds} s. The story now comes from these weights.`,
  },

  files: {
    heading: "Your own model",
    about: "Drop a Llama folder in Hugging Face format here, in full precision or quantized by bitsandbytes. It is not uploaded.",
    pickFolder: "Choose a folder",
    pickFiles: "Choose files",
    drop: "Drop the model's folder or files",
    original: "Back to the built-in model",
    loadedFrom: (name: string) => `Loaded: ${name}`,
    builtIn: "built-in model",
  },

  errors: {
    heading: "That did not work",
    goesOn: "The page works on: try again, or go back to the built-in model.",
    crashed: "The engine stopped unexpectedly and was started anew. Nothing else was lost.",
    reason: "What the engine said",
    retry: "Try again",
    dismiss: "Dismiss",
    /** By the engine's code; `other` is for those that need the engine's own words. */
    byCode: {
      network: "A file of the model could not be fetched. Check the connection and try again.",
      "missing-file": "This is not a model folder: a file that every model has is missing.",
      "truncated-file": "A weight file is shorter than its header says: the download or copy is incomplete.",
      "invalid-header": "A weight file is not in safetensors format, or is damaged.",
      "unsupported-architecture": "This is another architecture. Nibblama runs Llama models.",
      "unsupported-browser": "This browser lacks WebAssembly SIMD, which the engine needs. A current browser has it.",
      "out-of-memory": "The model needs more memory than this tab can have.",
      crashed: "The engine stopped unexpectedly and was started anew. Nothing else was lost.",
      "invalid-json": "A JSON file of the model cannot be read.",
      "invalid-config": "config.json describes no model that can be built.",
      "missing-tensor": "The weights do not match config.json: a tensor is missing.",
      "unexpected-tensor": "The weights do not match config.json: there is a tensor too many.",
      "shape-mismatch": "The weights do not match config.json: a tensor has another shape.",
      "unknown-adapter": "There is no adapter of that name.",
      "invalid-adapter": "This is not a PEFT LoRA adapter, or it is damaged.",
      "adapter-mismatch": "This adapter was made for another model.",
      other: "The model could not be used.",
    },
  },

  keys: {
    heading: "Keys and settings",
    lede: "All settings are in the address: copy it, and the link opens the page as you see it.",
    help: "this list",
    stop: "stop writing",
    write: "write again",
    next: "next view",
    previous: "the view before",
    alone: "this view alone, for a slide, and back",
    mode: "story or lab",
    reveal: "show or hide all answers",
    table: "table behind the chart",
    text: "hide or show the text",
    theme: "dark or light",
    language: "한국어 or English",
  },

  footer: {
    about: "Nibblama runs Llama models quantized as bitsandbytes does it, byte for byte, in Rust and WebAssembly. Nothing you type or drop leaves this tab.",
    bench: "How fast is this device?",
    licence: "MIT or Apache-2.0",
  },
};

export type Strings = typeof en;
