import type { Words } from "./snippet.en";

export const ko: Words = {
  text: "파이썬에서는 이 모든 것이 객체 하나입니다. 코드의 값을 바꾸면 페이지 전체가 따라오고, 다른 곳의 조작을 바꾸면 코드가 따라옵니다. 라이브러리가 어차피 하는 것에는 기본값 표시가 있습니다.",
  caption: "이 페이지의 설정에 해당하는 BitsAndBytesConfig",
  takeaway: (differing, model, ours, theirs) =>
    differing === 0
      ? `모든 줄이 라이브러리 기본값입니다. ${model}의 크기는 ${ours}입니다.`
      : `라이브러리 기본값과 다른 줄은 ${differing}개입니다. ${model}의 크기는 이 설정에서 ${ours}, 기본값에서 ${theirs}입니다.`,
  isDefault: "기본값",
  was: (value) => `기본값: ${value}`,
  values: {
    quant_type: "양자화 형식(quant_type)",
    double_quant: "이중 양자화(double quantization)",
    compute_dtype: "계산 자료형(compute dtype)",
    skip_modules: "제외할 모듈",
  },
  skipAuto: "None",
  skipHint: "모듈 이름이나 경로의 일부를 쉼표로 나누어 적습니다. 비우면 라이브러리가 lm_head를 제외합니다.",
  blocksizeNote: (size) =>
    `이 페이지의 블록 크기(blocksize)는 ${size}입니다. transformers에는 이 항목이 없고 항상 64를 씁니다. bitsandbytes만 쓸 때는 quantize_4bit의 인자입니다.`,
  copy: "프로그램 복사",
  copied: "복사했습니다.",
  copyFailed: "브라우저가 복사를 허용하지 않았습니다. 프로그램은 아래 상자에 있습니다.",
  program: "전체 프로그램",
  defaults: "기본값도 적기",
  paste: "코드, quantization_config 또는 config.json 붙여넣기",
  pasteHint: 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")',
  apply: "설정에 적용",
  applied: "붙여넣은 내용대로 설정했습니다.",
  ignored: (names) => `붙여넣은 내용대로 설정했습니다. 여기서 모르는 항목은 뺐습니다: ${names}.`,
  lesson: "강의의 설정",
  library: "라이브러리 기본값",
  problems: {
    nothing: "이 글에는 BitsAndBytesConfig(...)도 quantization_config도 없습니다.",
    syntax: (near) => `파이썬이나 JSON으로 읽을 수 없습니다. “${near}” 근처입니다.`,
    value: (name, found) => `${name}의 값은 ${found}일 수 없습니다.`,
    "not-4bit": "4비트를 요청하지 않습니다. load_in_4bit=True가 없습니다.",
    int8: "8비트(LLM.int8)를 요청합니다. 이 페이지의 조작은 4비트용입니다.",
  },
  table: { caption: "인자", argument: "인자", value: "값", def: "라이브러리 기본값", same: "같음" },
  yes: "예",
  no: "아니요",
  explain: [
    "load_in_4bit=True만 쓰면 FP4, 블록 64개, 이중 양자화 없음, 계산 자료형 float32가 됩니다. 강의의 코드는 이 중 세 가지를 바꿉니다.",
    "계산 자료형은 저장 형식이 아닙니다. 가중치는 메모리에 4비트로 남고, 곱할 때마다 이 형식의 수로 되돌립니다. bfloat16은 GPU에서 더 빠르지만 더 많이 반올림합니다.",
    "llm_int8_skip_modules는 이름과 달리 4비트에서도 그대로 둘 모듈을 정합니다. 비우면 transformers가 lm_head를 남기고, 목록을 직접 쓰면 lm_head도 적어야 남습니다.",
  ],
  question: {
    ask: "load_in_4bit=True만 쓰면 가중치는 어떤 형식이 될까요?",
    options: ["NF4", "FP4", "INT4"],
    answer: "라이브러리 기본값은 FP4입니다. 모두가 권하는 NF4는 따로 요청해야 합니다.",
  },
};
