import { ro } from "../../app/format";
import type { Words } from "./weight.en";

export const ko: Words = {
  text: "가중치를 블록 안에서 절댓값이 가장 큰 값(absmax)으로 나누면 −1과 1 사이에 놓입니다. 거기서 16개 수준(level) 중 가장 가까운 것을 골라 그 번호만 4비트로 저장합니다. 가중치를 끌거나, 값을 입력하거나, 화살표 키를 써 보세요.",
  takeaway: (value, code, restored, off) => `${value}의 코드는 ${code}이고 ${ro(restored)} 되돌아옵니다. 오차는 absmax의 ${off}입니다.`,
  caption: (type, name) => `${name}의 가중치를 블록의 absmax로 나눈 값과 ${type}의 수준 16개`,
  slider: "absmax로 나눈 가중치",
  typed: "가중치",
  own: "실제 가중치로 돌아가기",
  normal: "정규 분포",
  assumed: "NF4의 가정",
  assumes: (assumed, real) =>
    `NF4는 가장 큰 가중치가 표준 편차의 ${assumed}배라고 가정합니다(점선). 이 텐서의 블록에서는 ${real}배라서 바깥쪽 수준이 덜 쓰입니다. 좋은 코드이지만 가능한 것 중 가장 좋은 것은 아닙니다.`,
  real: "실제 가중치",
  names: {
    value: "가중치", absmax: "블록의 absmax", normalised: "가중치 / absmax", level: "가장 가까운 수준", code: "코드",
    nibble: "니블(nibble)", restored: "수준 × 스케일", error: "오차",
  },
  column: { level: "수준", code: "코드", bits: "비트", lower: "부터", upper: "까지", share: "해당 가중치" },
  table: (type) => `${type}의 수준 16개`,
  explain: [
    "NF4의 수준은 간격이 고르지 않습니다. 정규 분포의 분위수(quantile)라서 가중치가 몰린 0 근처에서 촘촘하고, 양 끝은 정확히 −1과 1입니다.",
    "0도 하나의 수준이므로 0인 가중치는 0으로 남습니다. 그래서 0보다 큰 수준은 여덟, 작은 수준은 일곱입니다.",
    "FP4는 아주 작은 부동소수점입니다. 부호 1비트, 지수 2비트, 가수 1비트라서 수준이 2의 거듭제곱과 그 중간에 놓입니다.",
    "되돌아오는 값은 수준 × absmax입니다. 오차는 두 수준 간격의 절반에 absmax를 곱한 값을 넘지 않으니, absmax가 큰 블록은 가중치가 거칠어집니다.",
  ],
  question: {
    ask: (n) => `양자화하고 나면 한 블록의 가중치 ${n}개는 서로 다른 값을 몇 가지나 가질 수 있을까요?`,
    answer: (used) => `4비트로는 코드가 16가지이니 많아야 16가지입니다. 이 블록에서는 ${used}가지가 쓰입니다.`,
  },
};
