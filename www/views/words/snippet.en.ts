export const en = {
  text: "In Python, all of this is one object. Change a value in the code and the whole page follows; change a control elsewhere and the code follows. What the library would do anyway is marked as its default.",
  caption: "BitsAndBytesConfig for the settings of this page",
  takeaway: (differing: number, model: string, ours: string, theirs: string) =>
    differing === 0
      ? `Every line is the library's default: ${model} takes ${ours} this way.`
      : `${differing === 1 ? "One line differs" : `${differing} lines differ`} from the library's defaults: ${model} takes ${ours} this way, ${theirs} with the defaults.`,
  isDefault: "default",
  was: (value: string) => `default: ${value}`,
  values: {
    quant_type: "quant_type",
    double_quant: "double quantization",
    compute_dtype: "compute dtype",
    skip_modules: "modules left out",
  },
  skipAuto: "None",
  skipHint: "Names or parts of module paths, separated by commas. Empty: the library leaves out lm_head.",
  blocksizeNote: (size: number) =>
    `This page uses blocksize ${size}. transformers has no key for it and always takes 64; with bitsandbytes alone it is an argument of quantize_4bit.`,
  copy: "Copy the program",
  copied: "Copied.",
  copyFailed: "The browser did not allow copying. The program is in the box below.",
  program: "The whole program",
  defaults: "write out defaults too",
  paste: "Paste a snippet, a quantization_config or a config.json",
  pasteHint: 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")',
  apply: "Set the controls",
  applied: "The controls now say what you pasted.",
  ignored: (names: string) => `The controls now say what you pasted. Not known here and left out: ${names}.`,
  lesson: "The lesson's",
  library: "The library's defaults",
  problems: {
    nothing: "There is no BitsAndBytesConfig(...) and no quantization_config in this text.",
    syntax: (near: string) => `This cannot be read as Python or JSON, near “${near}”.`,
    value: (name: string, found: string) => `${name} cannot be ${found}.`,
    "not-4bit": "This does not ask for 4 bits: load_in_4bit=True is missing.",
    int8: "This asks for 8 bits (LLM.int8). The controls of this page are those of 4 bits.",
  },
  table: { caption: "Arguments", argument: "argument", value: "value", def: "library's default", same: "same" },
  yes: "yes",
  no: "no",
  explain: [
    "load_in_4bit=True alone gives FP4, blocks of 64, no double quantization, and float32 as compute dtype. The lesson's snippet changes three of these.",
    "compute dtype is not storage. The weights stay 4-bit in memory; for each product they are turned back into numbers of this type. bfloat16 is faster on a GPU and rounds more.",
    "llm_int8_skip_modules names modules that stay as they are, in 4-bit loading too, in spite of its name. Left out, transformers keeps lm_head; with a list of your own, lm_head is quantized unless you name it.",
  ],
  question: {
    ask: "load_in_4bit=True and nothing else: which data type do the weights get?",
    options: ["NF4", "FP4", "INT4"],
    answer: "FP4 is the library's default. NF4, which everybody recommends, has to be asked for.",
  },
};

export type Words = typeof en;
