/** `llm_int8_skip_modules` as text: names with commas between, nothing for the library's own choice, "[]" for none. */

export function toSkipList(text: string): string[] | null {
  if (text.trim() === "[]") return [];
  const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  return names.length === 0 ? null : names;
}

export function skipText(list: readonly string[] | null): string {
  if (list === null) return "";
  return list.length === 0 ? "[]" : list.join(",");
}
