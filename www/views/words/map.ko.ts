import type { Words } from "./map.en";

export const ko: Words = {
  text: "텐서의 모든 가중치를 행마다 점으로 나타낸 지도입니다. 지도 위를 끌어 가중치를 고르면 돋보기가 그 블록을 보여 주고, 위의 보기들도 따라옵니다. 가중치, 코드, 오차를 바꿔 가며 보세요.",
  what: "보기",
  layers: { error: "오차", weight: "가중치", code: "코드" },
  takeaway: {
    error: (name, median, row, most) => `${name}의 행별 RMSE 중앙값은 ${median}, 가장 큰 값은 ${row}번 행의 ${most}입니다.`,
    weight: (name, largest, row, std) => `${name}에서 가장 큰 가중치는 ${row}번 행의 ${largest}로, 텐서 표준 편차의 ${std}배입니다.`,
    code: (name, row, column, code, block) => `${name}의 ${row}번 행 ${column}번 열 가중치는 0~15 중 ${code}번 수준이고 블록 ${block}에 있습니다.`,
  },
  caption: { error: "칸마다 가장 큰 절대 오차", weight: "칸마다 절댓값이 가장 큰 가중치", code: "칸마다 코드의 수준, 0~15" },
  chart: "가리키는 가중치",
  at: (row, column, value) => `${row}번 행 ${column}번 열: ${value}`,
  magnified: (rows, columns) => `고른 가중치 둘레 ${rows}행 ${columns}열, 테두리가 그 블록`,
  row: "행",
  column: "열",
  rows: "텐서의 행마다",
  columns: { row: "행", absmax: "absmax", mean: "평균", std: "표준 편차", rmse: "RMSE" },
  explain: [
    "가로줄은 가중치가 큰 행이고, 세로줄은 가중치가 큰 입력 특징(feature)입니다. 이런 블록은 absmax가 커서 오차도 큽니다.",
    "오차 지도는 멀리서 본 가중치 지도와 닮았습니다. 오차는 블록마다 absmax를 따라갑니다.",
    "블록은 행을 따라 이어집니다. 돋보기의 테두리가 스케일을 함께 쓰는 가중치입니다.",
  ],
  question: {
    ask: "양자화한 텐서에서 오차가 가장 큰 곳은 어디일까요?",
    options: ["어디나 고르다", "큰 가중치가 있는 블록", "가중치가 0에 가까운 곳"],
    answer: (row, rmse, absmax) => `${row}번 행의 RMSE가 ${rmse}로 가장 크고 absmax는 ${absmax}입니다. 수준의 간격은 스케일이 정하기 때문입니다.`,
  },
};
