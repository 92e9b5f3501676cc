import { ro } from "../../app/format";
import type { Words } from "./blocksize.en";

export const ko: Words = {
  text: "블록마다 스케일(scale)이 하나씩 있습니다. 짧은 블록은 가중치에 잘 맞지만 스케일이 많이 들고, 긴 블록은 싸지만 거칩니다. 고른 텐서에서 블록 크기(blocksize) 32부터 4096까지 두 가지 비용을 함께 보여 줍니다.",
  takeaway: (from, to, saved, more) => `블록을 ${from}에서 ${ro(to)} 늘리면 가중치마다 ${saved}비트를 아끼고 오차는 ${more} 커집니다.`,
  caption: (type, name) => `${name}의 ${type}: 가중치당 비트에 따른 RMSE`,
  single: "f32 스케일",
  double: "이중 양자화",
  axisBits: "가중치당 비트",
  axisError: "RMSE",
  chart: "블록 크기",
  point: (size, bits, rmse) => `블록 크기 ${size}: ${bits}비트, RMSE ${rmse}`,
  columns: { blocksize: "블록 크기", scales: "스케일", blocks: "블록 수", bits: "가중치당 비트", mae: "MAE", rmse: "RMSE", max: "최대 오차" },
  explain: [
    "f32 스케일은 블록마다 32비트입니다. 블록이 64이면 가중치마다 32 / 64 = 0.5비트, 4096이면 0.008비트입니다.",
    "스케일을 함께 쓰는 가중치가 많을수록 absmax가 커지기 쉽고, 16개 수준의 간격도 벌어집니다.",
    "이중 양자화를 쓰면 스케일 하나가 8비트쯤이라 짧은 블록도 감당할 만합니다. transformers는 블록 크기를 64로 고정합니다.",
  ],
  question: {
    ask: (from, to) => `블록이 가중치 ${from}개에서 ${to}개로 늘면 스케일이 64분의 1로 줄어듭니다. 오차는 얼마나 커질까요?`,
    options: ["64배", "8배쯤", "두 배가 못 된다"],
    answer: (times) => `여기서는 ${times}배입니다. absmax는 맡은 가중치 수가 늘어도 천천히 커집니다.`,
  },
};
