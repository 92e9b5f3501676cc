import type { Words } from "./words.en";

/** Parts of the names of measurements, longer ones first. */
const PARTS: readonly [RegExp, string][] = [
  [/share of memory's speed/, "메모리 속도 대비"],
  [/memory read by one thread/, "스레드 하나의 메모리 읽기"],
  [/dequantize NF4, of f32/, "NF4 역양자화(f32 기준)"],
  [/quantize to NF4, of f32/, "NF4 양자화(f32 기준)"],
  [/quantize, dequantize/, "양자화, 역양자화"],
  [/double quantized/, "이중 양자화"],
  [/operations/, "연산"],
  [/\bcold\b/, "캐시 밖"],
  [/(\d+) tokens?\b/, "토큰 $1개"],
  [/(\d+) threads?\b/, "스레드 $1개"],
];

export const ko: Words = {
  title: "Nibblama: 이 기기 속도 재기",
  heading: "이 기기는 얼마나 빠를까요?",
  lede: "첫 페이지에서 이야기를 쓰는 바로 그 코드의 속도를 잽니다. 먼저 4비트 가중치와의 곱만 따로 재고, 그다음 무작위 가중치로 만든 Llama 전체를 잽니다. 결과가 맞는지 확인한 뒤에 시간을 잽니다. 아무것도 이 기기 밖으로 나가지 않습니다.",
  advice: "1분쯤 걸립니다. 다른 탭이나 프로그램이 바쁘거나 절전 상태이면 숫자가 나빠집니다.",
  models: "모델",
  small: "가중치 4,200만 개",
  both: "가중치 4,200만 개와 4억 1,700만 개",
  room: "큰 모델에는 메모리 약 1.5GB와 몇 분이 더 필요합니다.",
  start: "재기",
  stop: "멈춤",
  now: (what) => `재는 중: ${what}`,
  done: "끝났습니다.",
  stopped: "멈췄습니다. 그때까지 잰 값은 아래에 있습니다.",
  failed: "재지 못했습니다.",
  builds: (one, many, threads) =>
    many === null
      ? `빌드: ${one}. 이 페이지가 교차 출처 격리 상태가 아니거나 기기에 코어가 하나뿐이어서 스레드 하나만 잽니다.`
      : `빌드: 스레드 하나는 ${one}, 스레드 ${threads}개는 ${many}.`,
  caption: "잰 값",
  columns: { what: "항목", median: "중앙값", min: "최소", max: "최대", unit: "단위" },
  none: "아직 잰 값이 없습니다.",
  designs: {
    caption: "fast 연산의 계산 방식과 엔진이 잰 속도",
    design: "곱셈 방식",
    taken: "선택",
    yes: "예",
    no: "아니요",
    names: { i16: "16비트(near-exact)", "i8-split": "8비트 둘로 나눔(near-exact)", "i8-pairs": "8비트, 둘씩 더함", "i8-quads": "8비트, 넷씩 더함" },
  },
  copyText: "텍스트로 복사",
  copyJson: "JSON으로 복사",
  copied: "복사함",
  meaning: "각 줄의 뜻",
  explain: [
    "GB/s는 압축된 가중치와 그 스케일의 바이트를, GFLOP/s는 가중치와 토큰마다 연산 두 번을 셉니다.",
    "“캐시 밖”은 캐시에 다 들어가지 않는 모델에서처럼 행렬을 매번 메모리에서 읽는다는 뜻입니다. 메모리 속도 대비 값은 바로 뒤에 돌린, 읽기만 하는 반복문과 비교한 것입니다.",
    "prefill은 토큰 128개를 한꺼번에 읽고, decode는 빈 kv cache에서 시작해 토큰 16개를 하나씩 읽습니다. 샘플링은 하지 않습니다.",
    "exact는 정해진 순서로 더하는 f32이고, near-exact는 16비트 정수를 곱합니다. fast는 8비트 정수를 곱하며, 첫 페이지에서는 따로 켜지 않으면 쓰지 않습니다.",
    "여러 방식이 라운드마다 번갈아 돕니다. 라운드들의 중앙값을 보시고, 최소와 최대로 얼마나 고른지 살펴보세요.",
  ],
  measurement: (name) => PARTS.reduce((text, [part, korean]) => text.replace(part, korean), name),
};
