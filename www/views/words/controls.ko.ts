import type { Words } from "./controls.en";

export const ko: Words = {
  heading: "모든 조작",
  quantType: "quant_type",
  blocksize: "blocksize",
  doubleQuant: "이중 양자화",
  computeDtype: "compute_dtype",
  tensor: "텐서",
  block: "블록",
  weight: "블록 안 가중치",
  of: (n) => `/ ${n}`,
  motion: "움직임",
  noOriginals:
    "이 체크포인트(checkpoint)는 이미 양자화되어 있고 원본이 여기에 없습니다. 복원한 가중치로 계산하므로 원본과의 오차는 보일 수 없습니다.",
  needsOriginals: "이 비교에는 양자화하기 전의 가중치가 필요합니다.",
  labFailed: "가중치를 읽지 못했습니다",
  retry: "다시 시도",
};
