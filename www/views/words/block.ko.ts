import type { Words } from "./block.en";

export const ko: Words = {
  text: "가중치는 블록(block) 단위로, 곧 한 줄로 편 텐서의 이어진 구간마다 양자화됩니다. 블록 하나를 다섯 단계로 따라가 보세요. 그런 다음 이상치(outlier)를 심어 이웃이 어떻게 되는지 보세요.",
  steps: ["absmax", "나누기", "가까운 수준", "묶기", "풀기"],
  step: "단계",
  notes: {
    absmax: (absmax, position, n) => `블록에서 절댓값이 가장 큰 값은 ${position}번 자리의 ${absmax}입니다. 가중치 ${n}개에 한 번만 저장합니다.`,
    divide: (value, absmax, normalised) => `모든 가중치를 그 값으로 나눕니다: ${value} / ${absmax} = ${normalised}. 모양은 그대로이고 눈금만 바뀝니다.`,
    level: (normalised, level, code) => `${normalised}에 가장 가까운 수준(level)은 ${level}입니다. 저장하는 것은 그 코드 ${code}입니다.`,
    pack: (byte, high, low) => `코드 둘이 한 바이트가 됩니다. 앞의 것이 상위 니블(high nibble)입니다: ${high}, ${low} → ${byte}.`,
    unpack: (code, level, scale, restored) => `코드 ${code}는 ${level}을 뜻하고, 스케일 ${scale}을 곱하면 ${restored}입니다.`,
  },
  takeaway: (n, bytes, before, used, rmse) =>
    `가중치 ${n}개가 bf16 ${before}바이트 대신 코드 ${bytes}바이트가 됩니다. 코드 16가지 중 ${used}가지를 쓰고 RMSE는 ${rmse}입니다.`,
  takeawayStored: (n, bytes, used) => `가중치 ${n}개가 코드 ${bytes}바이트에 담겨 있고 코드 16가지 중 ${used}가지를 씁니다. 원본은 남아 있지 않습니다.`,
  collapse: (factor, used, before, times) =>
    `가중치 하나가 absmax의 ${factor}배가 되면 쓰이는 코드가 ${before}가지에서 ${used}가지로 줄고 RMSE는 ${times}배가 됩니다.`,
  caption: (name, block) => `${name}, 블록 ${block}: 양자화 전과 후의 가중치`,
  outlier: "이상치(outlier) 심기",
  outlierAt: (factor) => `absmax의 ${factor}배`,
  none: "없음",
  chart: "블록 안 가중치의 자리",
  weightAt: (position, value, restored) => `가중치 ${position}: ${value}, 복원값 ${restored}`,
  original: "원본",
  restored: "복원",
  level: "수준 16개",
  bytes: "묶인 바이트, 상위 니블이 먼저",
  columns: { position: "자리", value: "가중치", normalised: "가중치 / absmax", code: "코드", byte: "바이트", restored: "복원값", error: "오차" },
  explain: [
    "블록은 텐서를 행 순서대로 한 줄로 폈을 때 이어지는 가중치 64개입니다. 행이 어디서 끝나는지는 상관하지 않습니다.",
    "스케일은 블록에서 가장 큰 가중치에 맞춰야 합니다. 큰 가중치 하나가 16개 수준을 모두 늘려 놓으면 작은 이웃들은 0으로 떨어집니다. 그래서 블록이 짧고, LLM.int8은 이상치 열을 먼저 빼놓습니다.",
    "상위 니블이 먼저입니다. i번째 바이트의 위쪽 4비트가 가중치 2i, 아래쪽 4비트가 2i + 1입니다.",
    "이중 양자화에서는 풀 때 곱하는 스케일도 8비트에서 복원한 값이라, 가장 큰 가중치도 조금 달라져 돌아옵니다.",
  ],
  question: {
    ask: (n) => `가중치 ${n}개 중 하나가 블록 absmax의 16배로 커졌습니다. 나머지의 오차는 어떻게 될까요?`,
    options: ["그대로다: 가중치마다 코드가 따로 있다", "두 배가 된다", "여러 배로 커진다"],
    answer: (times, used) => `이 블록의 RMSE가 ${times}배로 커지고 코드 16가지 중 ${used}가지만 쓰입니다. 스케일을 함께 쓰기 때문입니다.`,
  },
};
