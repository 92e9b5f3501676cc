import type { Words } from "./layers.en";

export const ko: Words = {
  text: "print(model)은 모듈을 보여 줍니다. 4비트로 불러오면 제외한 것을 빼고 모든 Linear가 Linear4bit로 바뀝니다. 행의 표시를 끄면 16비트로 남고, 그 비용이 보입니다.",
  caption: (name) => `${name}: 모듈별 바이트, bf16과 4비트`,
  takeaway: (four, all, before, after, left, share) =>
    `선형 레이어(linear layer) ${all}개 중 ${four}개가 Linear4bit가 되어 ${before}가 ${after}로 줄어듭니다. 16비트로 남는 것은 ${left}, 전체의 ${share}입니다.`,
  module: "모듈",
  before: "bf16",
  after: "4비트",
  quantize: (name) => `${name} 양자화`,
  times: (n) => `× ${n}`,
  kept: {
    Embedding: "곱셈이 아니라 조회이므로 bitsandbytes가 그대로 둡니다.",
    LlamaRMSNorm: "레이어마다 수가 몇 개뿐이라 줄일 것이 없습니다.",
    tied: "임베딩과 수를 공유하므로(tied) 따로 양자화할 것이 없습니다.",
    lm_head: "목록을 직접 쓰지 않으면 라이브러리가 제외합니다.",
    skipped: "llm_int8_skip_modules로 제외했습니다.",
  },
  model: "모델",
  thisModel: "이 모델",
  layers: "레이어 전체를 제외하기",
  layer: (n) => `레이어 ${n}`,
  reset: "라이브러리의 선택",
  regenerate: "이대로 불러와 쓰기",
  regenerating: (done, total) => `텐서 ${total}개 중 ${done}개`,
  cancel: "취소",
  writes: (from) => `${from}, 이 설정으로 쓴 글:`,
  noOriginals: "불러온 모델이 이미 양자화되어 있어 여기서 레이어를 바꿀 수 없습니다.",
  otherModel: "공개된 모델의 크기입니다. 단추를 누르면 이 탭의 모델을 이대로 불러와 씁니다.",
  table: { caption: "모듈", path: "모듈", from: "이전 클래스", to: "이후 클래스", before: "bf16 바이트", after: "4비트 바이트", times: "모듈 수" },
  explain: [
    "Linear4bit는 가중치를 묶은 코드로 가집니다. 한 바이트에 가중치 두 개가 들어가고 스케일이 옆에 있습니다. print(model)에는 원래 레이어의 모양이 그대로 나옵니다.",
    "임베딩(embedding)과 정규화(norm)는 Linear가 아닙니다. lm_head는 Linear이고 모든 예측의 마지막 단계입니다.",
    "llm_int8_skip_modules에는 이름의 일부를 씁니다. q_proj는 모든 블록의 그 레이어, model.layers.3은 3번 블록 전체입니다. 직접 쓴 목록은 기본값을 대신하므로 lm_head를 남기려면 적어야 합니다.",
  ],
  question: {
    ask: "q_proj의 표시를 끄면 몇 개의 레이어가 Linear로 돌아갈까요?",
    options: ["하나", "블록마다 하나", "전부"],
    answer: (n) => `이름이 모든 블록에서 맞으므로 모듈 ${n}개입니다.`,
  },
};
