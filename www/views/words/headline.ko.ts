import type { Words } from "./headline.en";

export const ko: Words = {
  text: "4비트는 반 바이트이니 가중치마다 반 바이트면 될 것 같습니다. 실제로는 더 듭니다. 선형 레이어(linear layer)만 4비트가 되고, 가중치 블록(block)마다 코드 옆에 스케일(scale)이 하나씩 붙기 때문입니다.",
  takeaway: (name, real, naive, over, kept) =>
    `${name}: ${naive}가 아니라 ${real}입니다. ${over} 더 큰 까닭은 주로 ${kept} 16비트로 남기 때문입니다.`,
  kept: { all: "임베딩(embedding), lm_head, norm이", tied: "임베딩(embedding)과 norm이" },
  caption: (name) => `4비트 ${name}의 바이트, 부분마다 이어 그림`,
  model: "모델",
  thisModel: "이 모델",
  doubleQuant: "이중 양자화(double quantization)",
  parts: {
    naive: "반 바이트 × 모든 파라미터",
    codes: "니블: 묶인 4비트 코드",
    absmax: "absmax: 블록마다 스케일 하나",
    nested: "2단계 absmax와 코드표",
    embed: "임베딩, 16비트",
    head: "lm_head, 16비트",
    norm: "norm, 16비트",
    total: "실제로 차지하는 크기",
    printed: "get_memory_footprint() 출력값",
  },
  part: "부분",
  bytes: "바이트",
  share: "비율",
  explain: (embedShare, printed, real) => [
    `임베딩과 lm_head는 토큰(token)마다 한 줄인 표입니다. bitsandbytes는 이들을 건드리지 않으며, 출력되는 값의 ${embedShare}를 차지합니다.`,
    "파라미터 수를 2로, 또는 f32 크기를 8로 나누는 계산기는 이것과 스케일을 잊고 있습니다.",
    `get_memory_footprint()는 ${printed}를 출력합니다. 파라미터와 버퍼만 세는데 스케일은 둘 다 아니고, quant_state로 가중치에 매달려 있습니다. 실제로는 ${real}입니다.`,
    "계산할 때는 가중치를 연산 자료형(compute dtype)으로 되돌립니다. 4비트로 곱하는 것은 없으니, 4비트는 연산이 아니라 메모리를 아낍니다.",
  ],
  question: {
    ask: (name, parameters) => `${name}의 파라미터는 ${parameters}개입니다. 이중 양자화를 켠 4비트에서는 몇 바이트일까요?`,
    answer: (real, sixteen) => `${real}입니다. 16비트로 남는 부분만 ${sixteen}입니다.`,
  },
  shrink: {
    ask: "Llama를 4비트로 불러오면 어느 부분이 작아질까요?",
    options: ["모든 레이어", "블록 안의 선형 레이어", "임베딩과 lm_head"],
    answer: (linear, before) =>
      `q, k, v, o, gate, up, down이 bf16 ${before}에서 ${linear}로 줄어듭니다. 임베딩, lm_head, norm은 그대로입니다.`,
  },
};
