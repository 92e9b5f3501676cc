export const en = {
  text: "Everything you set on this page is in its address. Send a link and others see what you see; put one view on a slide or into a lesson's page; let the class predict before you reveal.",
  takeaway: (settings: number, characters: string, questions: string, views: string) =>
    `This link carries ${settings} ${settings === 1 ? "setting" : "settings"} in ${characters} characters; ${questions} questions wait in ${views} views.`,
  caption: "What this page is set to, and where it differs from its defaults",
  link: "Link to the page as it is now",
  view: "View",
  hide: "Hide",
  parts: { title: "title", text: "text", takeaway: "takeaway", controls: "controls", tools: "table and exports" },
  address: "Address of the view",
  frame: "For another page",
  copy: "Copy",
  copied: "Copied",
  open: "Open",
  keys: "Keys for presenting",
  questions: "Questions to ask first",
  count: (n: number) => (n === 1 ? "1 question" : `${n} questions`),
  reveal: "Show all answers",
  columns: { setting: "setting", value: "value", initial: "default" },
  empty: "empty",
  explain: [
    "embed=1 shows the view named by view=, and hide= takes title, text, takeaway, controls and tools, parted by commas.",
    "A page that embeds a view in an iframe needs nothing else. If it is cross-origin isolated itself, add the attribute allow=\"cross-origin-isolated\".",
    "What cannot be read in a link takes its default. A link of this version keeps its meaning.",
  ],
};

export type Words = typeof en;
