import type { Words } from "./double.en";

export const ko: Words = {
  text: "스케일도 숫자입니다. 블록마다 f32 하나씩입니다. 이중 양자화(double quantization)는 이것을 다시 양자화합니다. 평균을 빼고, 8비트 코드표의 256개 수준 중 가장 가까운 것을 고르고, 스케일 256개마다 f32 하나를 둡니다. bnb_4bit_use_double_quant가 하는 일입니다.",
  takeaway: (bits, before, after, saved, total, share, printed) =>
    `가중치마다 ${bits}비트(${before}\u00a0→\u00a0${after}), 이 모델 ${total} 중 ${saved}(${share})\u2060를 아끼지만 출력되는 크기는 ${printed} 그대로입니다.`,
  caption: (name, from, to) => `${name}: 블록 ${from}~${to}의 absmax − 평균, 전과 후`,
  chart: "스케일을 살펴볼 블록",
  scaleAt: (block, absmax, restored) => `블록 ${block}: absmax ${absmax}, 복원값 ${restored}`,
  levels: "수준 256개",
  before: "absmax − 평균",
  after: "복원값",
  zero: (mean) => `평균 ${mean}`,
  figures: { absmax: "absmax", mean: "− 평균", divided: "/ 2단계 absmax", code: "8비트 코드", restored: "복원값", error: "스케일의 오차" },
  memory: "모델 전체의 바이트",
  rows: { single: "실제, f32 스케일", double: "실제, 이중 양자화", printedSingle: "출력값, f32 스케일", printedDouble: "출력값, 이중 양자화" },
  columns: { block: "블록", absmax: "absmax", code: "8비트 코드", restored: "복원값" },
  large: (saved, whole, share) => ` Llama 3.1 8B에서는 ${whole} 중 ${saved}, ${share}를 아낍니다.`,
  explain: (rmse, rmseDouble, large) => [
    "평균을 먼저 빼는 까닭은 스케일이 모두 양수이기 때문입니다. 그대로 두면 256개 수준의 절반이 놀게 됩니다.",
    "8비트 코드표는 동적(dynamic)입니다. 0 근처에서 촘촘하고 멀어질수록 성겨서, 작은 차이도 큰 차이도 앞자리 숫자를 지킵니다.",
    "스케일 256개가 2단계 absmax 하나를 함께 쓰므로, 스케일 하나가 32비트 대신 8 + 32 / 256비트입니다.",
    ...(rmse === "" ? [] : [`대가로 가중치의 RMSE가 ${rmse}에서 ${rmseDouble}로 바뀝니다.`]),
    `흔히 말하는 “10~20 % 더”는 지나칩니다. 4.5비트에서 0.373비트는 8 %이고, 16비트로 남는 부분까지 셈하면 더 적습니다.${large}`,
  ],
  printed: {
    ask: "이중 양자화를 켜면 get_memory_footprint()가 출력하는 수는 어떻게 될까요?",
    options: ["10~20 % 줄어든다", "8 %쯤 줄어든다", "그대로다"],
    answer: (off, on) => `켜기 전 ${off}, 켠 뒤 ${on}입니다. 스케일은 파라미터도 버퍼도 아닌 quant_state라서 처음부터 세지 않았습니다.`,
  },
  saved: {
    ask: "그렇다면 이 모델의 4비트 크기에서 실제로 아끼는 비율은 얼마일까요?",
    answer: (share) => `${share}입니다. 스케일은 처음부터 작은 부분이었습니다.`,
  },
};
