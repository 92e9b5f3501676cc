import type { Words } from "./contest.en";

export const ko: Words = {
  text: "같은 가중치를 적은 비트로 적는 여러 방법입니다. 형식(format)마다 수준이 다르고 스케일에 치르는 값도 다릅니다. 모든 텐서, 모든 기준에서 이기는 형식은 없으니 비트, MAE, RMSE를 함께 보세요.",
  takeaway: (name, best, bestRmse, bestBits, few, fewRmse, fewBits) =>
    `${name}에서 5.5비트 아래로 RMSE가 가장 작은 것은 ${best}(${bestBits}비트, ${bestRmse})이고, 비트가 가장 적은 것은 ${few}(${fewBits}비트, ${fewRmse})입니다.`,
  same: (name, best, rmse, bits) => `${name}에서는 ${best}가 5.5비트 아래에서 RMSE(${rmse})도 가장 작고 비트(${bits})도 가장 적습니다.`,
  caption: "스케일을 포함한 가중치당 비트에 따른 RMSE",
  axisBits: "가중치당 비트",
  axisError: "RMSE / 표준 편차",
  levels: "형식마다 맞춘 가중치의 분포와 수준",
  chart: "형식별 RMSE와 비트",
  bits: "비트",
  names: {
    nf4: "NF4", "nf4-dq": "NF4 + 이중", fp4: "FP4", "int4-symmetric": "INT4 대칭", "int4-asymmetric": "INT4 비대칭",
    int8: "INT8, 스케일 하나", "llm-int8": "LLM.int8, 행 스케일",
  },
  columns: { format: "형식", bits: "가중치당 비트", mae: "MAE", rmse: "RMSE", relative: "RMSE / 시그마", max: "최대 오차", snr: "SNR, dB" },
  explain: [
    "대칭(symmetric) INT4는 15개 수준을 고르게 놓고 코드 하나를 쓰지 않습니다. 비대칭(asymmetric) INT4는 블록의 최솟값부터 최댓값까지 16개 수준을 펴는 대신 블록마다 숫자가 하나 더 듭니다.",
    "NF4는 정규 분포의 가중치가 몰린 곳에 수준을 둡니다. 스케일 하나로 되니 정규 분포를 닮은 가중치에서는 적은 비트로 오차가 작지만, 다른 분포에서도 그렇다는 법은 없습니다.",
    "FP4는 0 근처에 촘촘하고 바깥쪽은 성깁니다. 그래도 라이브러리의 기본값은 FP4입니다.",
    "MAE는 모든 오차를 똑같이 세고, RMSE는 큰 오차를 더 무겁게 셉니다. 한쪽에서 앞서고 다른 쪽에서 뒤질 수 있습니다.",
  ],
  question: {
    ask: (name) => `${name}에서 RMSE가 가장 작은 4비트 형식은 무엇일까요?`,
    answer: (best, rmse, bits, nf4, nf4Bits) =>
      `${best}입니다: ${bits}비트에 ${rmse}. 이중 양자화한 NF4는 ${nf4Bits}비트에 ${nf4}입니다. 작은 오차와 적은 비트는 서로 다른 목표입니다.`,
  },
};
