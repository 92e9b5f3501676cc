import type { Words } from "./yours.en";

export const ko: Words = {
  text: "config.json을 붙여넣거나 모델 폴더를 고르세요. 모든 크기는 설정만으로 정해지므로 가중치는 한 바이트도 읽지 않습니다. 아무것도 업로드하지 않습니다.",
  caption: (name, tokens) => `${name}: 모듈 종류별 바이트, 토큰 ${tokens}개의 kv 캐시 포함`,
  takeaway: (name, before, after, cache, tokens) =>
    `${name}의 크기는 ${before} 대신 4비트로 ${after}이고, 토큰 ${tokens}개의 kv 캐시(kv cache)에 ${cache}가 더 필요합니다.`,
  takeawayCache: (name, after, cache, tokens) =>
    `토큰 ${tokens}개면 kv 캐시(kv cache)가 ${cache}로, 4비트 ${name}(${after})보다 큽니다.`,
  paste: "config.json",
  pasteHint: '{ "model_type": "llama", "hidden_size": 4096, … }',
  read: "크기 보기",
  folder: "폴더 고르기",
  files: "파일 고르기",
  examples: "공개된 모델",
  context: "kv 캐시, 토큰 수",
  load: "여기서 불러오기",
  loading: "불러오는 중입니다. 페이지 맨 위를 보세요.",
  fits: (needed) => `이 탭에서 약 ${needed}가 필요합니다. 최대 4.3 GB까지 쓸 수 있습니다.`,
  tooLarge: (needed) => `${needed}가 필요합니다. WebAssembly 메모리의 한계인 4.3 GB보다 커서 이 탭에서 실행할 수 없습니다.`,
  noConfig: "이 파일들에는 config.json이 없습니다.",
  notJson: "JSON이 아닙니다.",
  refused: "엔진이 이 설정을 받지 않습니다",
  stored: (type) => `가중치가 이미 양자화되어 저장되어 있습니다(${type}).`,
  pasted: "붙여넣은 모델",
  rows: { full: "bf16", four: "4비트" },
  kinds: { embed: "임베딩", attention: "어텐션", mlp: "MLP", head: "lm_head", norm: "정규화", cache: "kv 캐시" },
  table: { caption: "모든 모듈", path: "모듈", kind: "4비트일 때의 클래스", parameters: "파라미터", before: "bf16 바이트", after: "4비트 바이트" },
  explain: [
    "kv 캐시(kv cache)는 모든 레이어에서 모든 토큰의 키와 값을 보관합니다. 가중치가 아니라 글의 길이에 따라 커지며, 숫자 하나에 16비트나 32비트를 씁니다. 여러 헤드가 키와 값을 나누어 쓰는 grouped-query attention이면 작아집니다.",
    "전체 정밀도의 체크포인트는 읽으면서 텐서마다 양자화하므로, 최대 메모리는 4비트 크기에 텐서 하나를 더한 정도입니다.",
  ],
  question: {
    ask: (name) => `${name}의 kv 캐시 토큰 수를 두 배로 하면 가중치의 바이트는 어떻게 될까요?`,
    options: ["두 배가 된다", "그대로다", "조금 늘어난다"],
    answer: (weights, cache) => `가중치는 ${weights} 그대로입니다. 캐시만 두 배인 ${cache}가 됩니다.`,
  },
};
