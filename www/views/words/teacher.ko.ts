import type { Words } from "./teacher.en";

export const ko: Words = {
  text: "이 페이지에서 정한 것은 모두 주소에 담깁니다. 링크를 보내면 상대도 같은 화면을 봅니다. 보기 하나만 슬라이드나 수업 페이지에 넣을 수 있고, 답을 보이기 전에 예측하게 할 수 있습니다.",
  takeaway: (settings, characters, questions, views) =>
    `이 링크에는 설정 ${settings}개가 ${characters}자로 담겨 있고, 보기 ${views}개에 질문 ${questions}개가 있습니다.`,
  caption: "이 페이지의 설정과 기본값에서 달라진 곳",
  link: "지금 그대로의 페이지 링크",
  view: "보기",
  hide: "숨기기",
  parts: { title: "제목", text: "설명 글", takeaway: "요점", controls: "조작", tools: "표와 내보내기" },
  address: "이 보기의 주소",
  frame: "다른 페이지에 넣기",
  copy: "복사",
  copied: "복사함",
  open: "열기",
  keys: "발표용 단축키",
  questions: "먼저 물어볼 질문",
  count: (n) => `질문 ${n}개`,
  reveal: "모든 답 보이기",
  columns: { setting: "설정", value: "값", initial: "기본값" },
  empty: "비어 있음",
  explain: [
    "embed=1은 view=에 적은 보기만 보여 주고, hide=에는 title, text, takeaway, controls, tools를 쉼표로 이어 적습니다.",
    "iframe에 넣는 페이지에는 다른 것이 필요 없습니다. 그 페이지가 교차 출처 격리 상태라면 allow=\"cross-origin-isolated\" 속성을 더하세요.",
    "링크에서 읽을 수 없는 것은 기본값을 씁니다. 이 버전의 링크는 뜻이 바뀌지 않습니다.",
  ],
};
