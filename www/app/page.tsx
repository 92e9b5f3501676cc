/** The page from top to bottom. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { NibblamaError } from "../engine/index";
import { droppedFiles, FilePanel } from "./files";
import { Hero, QuantizeHere } from "./hero";
import { openFiles, session, start } from "./session";
import { KEYS, watchKeys } from "./keys";
import { takeUpdate, waiting } from "./offline";
import { alone, goTo, toggleLanguage, toggleMode } from "./presenter";
import { Bench, Views } from "./slots";
import { language, remember, state, words } from "./state";
import { Mark, Modal } from "./ui";
import { VIEWS } from "../views/index";

const helpOpen = signal(false);
const dragging = signal(false);

function TopBar(): JSX.Element {
  const t = words.value;
  const theme = state.theme.value;
  const lab = state.mode.value === "lab";
  return (
    <header class="topbar">
      <a
        class="brand"
        href="#"
        aria-label="Nibblama"
        onClick={(event) => {
          event.preventDefault();
          state.view.value = "";
          scrollTo({ top: 0 });
        }}
      >
        <Mark />
        <span>Nibblama</span>
      </a>
      <Contents />
      <div class="switches">
        <button type="button" class="quiet" aria-pressed={lab} onClick={toggleMode}>
          {t.nav.lab}
        </button>
        <button type="button" class="quiet" lang={language.value === "ko" ? "en" : "ko"} onClick={toggleLanguage}>
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
      </div>
    </header>
  );
}

/** The list of views: beside the brand where there is room, else behind a button. */
function Contents(): JSX.Element {
  const t = words.value;
  const here = VIEWS.find((view) => view.id === state.view.value);
  return (
    <details class="contents" onKeyDown={(event) => event.key === "Escape" && (event.currentTarget.open = false)}>
      <summary>
        <span class="contents-here">{here === undefined ? t.nav.label : `${here.number} ${t.views[here.id].short}`}</span>
      </summary>
      <nav aria-label={t.nav.label}>
        <ol>
          {VIEWS.map((view) => (
            <li key={view.id} value={view.number}>
              <a
                href={`#${view.id}`}
                aria-current={view === here ? "true" : undefined}
                onClick={(event) => {
                  event.preventDefault();
                  const list = event.currentTarget.closest("details");
                  if (list !== null) list.open = false;
                  goTo(view.id);
                }}
              >
                {t.views[view.id].short}
              </a>
            </li>
          ))}
        </ol>
      </nav>
    </details>
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
  return (
    <Modal open={helpOpen} heading={help} close={close}>
      <p>{keys.lede}</p>
      <table>
        <tbody>
          {KEYS.map(({ key, name }) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{keys[name]}</td>
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
  if (alone.value !== null) return <Alone dragging={dragging.value} />;
  return (
    <>
      <a class="skip" href={state.mode.value === "lab" ? "#headline" : "#story"}>
        {state.mode.value === "lab" ? t.skipLab : t.skip}
      </a>
      <TopBar />
      {state.mode.value === "lab" ? (
        <main class="lab-page">
          <h1 class="visually-hidden">{t.title}</h1>
          <Bench />
          <Views />
        </main>
      ) : (
        <main>
          <Hero />
          <div class="panels">
            <QuantizeHere />
            <FilePanel />
          </div>
          <Views />
        </main>
      )}
      <footer>
        <p class="small muted">{t.footer.about}</p>
        <p class="small muted">
          <a href="./bench.html">{t.footer.bench}</a>
        </p>
        <p class="small muted">{t.footer.licence}</p>
      </footer>
      <Problem />
      <Update />
      <Help />
      {dragging.value ? <div class="drop-veil">{t.files.drop}</div> : null}
    </>
  );
}

function Update(): JSX.Element | null {
  const t = words.value.update;
  if (waiting.value === null) return null;
  return (
    <div class="notice update" role="status">
      <p>{t.ready}</p>
      <p class="row">
        <button type="button" class="primary" onClick={takeUpdate}>
          {t.use}
        </button>
        <button type="button" class="quiet" onClick={() => (waiting.value = null)}>
          {t.later}
        </button>
      </p>
    </div>
  );
}

/** One view and nothing else: for a slide, or inside another page. */
function Alone(props: { dragging: boolean }): JSX.Element {
  const t = words.value;
  return (
    <>
      <main class="alone">
        <h1 class="visually-hidden">{t.title}</h1>
        <Views />
      </main>
      <Problem />
      <Help />
      {props.dragging ? <div class="drop-veil">{t.files.drop}</div> : null}
    </>
  );
}
