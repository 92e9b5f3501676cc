/** The page from top to bottom. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { NibblamaError } from "../engine/index";
import { droppedFiles, FilePanel } from "./files";
import { Hero, QuantizeHere } from "./hero";
import { openFiles, session, start } from "./session";
import { language, remember, state, words } from "./state";
import { Mark, Modal } from "./ui";
import { watchKeys } from "./keys";

const helpOpen = signal(false);
const dragging = signal(false);

function TopBar(): JSX.Element {
  const t = words.value;
  const theme = state.theme.value;
  return (
    <header class="topbar">
      <a class="brand" href="#" onClick={(event) => (event.preventDefault(), scrollTo({ top: 0 }))}>
        <Mark />
        <span>Nibblama</span>
      </a>
      <nav aria-label={t.help}>
        <button
          type="button"
          class="quiet"
          lang={language.value === "ko" ? "en" : "ko"}
          onClick={() => {
            state.lang.value = language.value === "ko" ? "en" : "ko";
            remember("lang", state.lang.value);
          }}
        >
          {language.value === "ko" ? "English" : "한국어"}
        </button>
        <label class="theme">
          <span class="visually-hidden">{t.theme.label}</span>
          <select
            value={theme}
            onChange={(event) => {
              const value = event.currentTarget.value;
              state.theme.value = value === "light" || value === "dark" ? value : "";
              remember("theme", value);
            }}
          >
            <option value="">{t.theme.auto}</option>
            <option value="light">{t.theme.light}</option>
            <option value="dark">{t.theme.dark}</option>
          </select>
        </label>
        <button type="button" class="quiet" aria-label={t.help} onClick={() => (helpOpen.value = true)}>
          ?
        </button>
      </nav>
    </header>
  );
}

function Problem(): JSX.Element | null {
  const t = words.value.errors;
  const error = session.error.value;
  if (error === null) return null;
  const code = error instanceof NibblamaError ? error.code : "other";
  const known: Record<string, string> = t.byCode;
  return (
    <div class="notice bad problem" role="alert">
      <h2 class="problem-heading">{t.heading}</h2>
      <p>{known[code] ?? t.byCode.other}</p>
      <p>
        {t.reason}: <code>{error.message}</code>
      </p>
      <p>{t.goesOn}</p>
      <p class="row">
        <button type="button" onClick={() => void start()}>
          {session.name.value === null ? t.retry : words.value.files.original}
        </button>
        <button type="button" class="quiet" onClick={() => (session.error.value = null)}>
          {t.dismiss}
        </button>
      </p>
    </div>
  );
}

function Help(): JSX.Element {
  const { keys, help, close } = words.value;
  const rows: [string, string][] = [
    ["?", keys.help],
    ["W", keys.write],
    ["S", keys.stop],
  ];
  return (
    <Modal open={helpOpen} heading={help} close={close}>
      <p>{keys.lede}</p>
      <table>
        <tbody>
          {rows.map(([key, what]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Modal>
  );
}

export function Page(): JSX.Element {
  const t = words.value;
  useEffect(() => {
    const stopKeys = watchKeys(helpOpen);
    const over = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files") !== true) return;
      event.preventDefault();
      dragging.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) dragging.value = false;
    };
    const drop = (event: DragEvent) => {
      dragging.value = false;
      if (event.dataTransfer === null || event.dataTransfer.items.length === 0) return;
      event.preventDefault();
      void droppedFiles(event.dataTransfer).then(openFiles);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      stopKeys();
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return (
    <>
      <a class="skip" href="#story">
        {t.skip}
      </a>
      <TopBar />
      <main>
        <Hero />
        <div class="panels">
          <QuantizeHere />
          <FilePanel />
        </div>
      </main>
      <footer>
        <p class="small muted">{t.footer.about}</p>
        <p class="small muted">{t.footer.licence}</p>
      </footer>
      <Problem />
      <Help />
      {dragging.value ? <div class="drop-veil">{t.files.drop}</div> : null}
    </>
  );
}
