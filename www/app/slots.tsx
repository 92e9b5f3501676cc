/** The places of the views on the page: each is fetched when it is about to be seen. */

import type { ComponentType, JSX } from "preact";
import { useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { VIEWS, type ViewEntry } from "../views/index";
import { alone } from "./presenter";
import { needModel, report } from "./session";
import { hidden, state, words } from "./state";

/** All views are fetched, near or not: for printing. */
const everything = signal(false);
addEventListener("beforeprint", () => (everything.value = true));

/** How far outside of the window a view begins to load. */
const MARGIN = "700px 0px";

export function Views(): JSX.Element {
  const one = alone.value;
  useEffect(() => followReading(), [one]);
  return (
    <div class={`views ${state.mode.value}`}>
      {VIEWS.filter((view) => one === null || view === one).map((view) => (
        <Slot key={view.id} view={view} />
      ))}
    </div>
  );
}

function Slot({ view }: { view: ViewEntry }): JSX.Element {
  const section = useRef<HTMLElement>(null);
  const [near, setNear] = useState(false);
  const { title } = words.value.views[view.id];
  const wanted = near || everything.value || alone.value === view;
  useEffect(() => {
    const element = section.current;
    if (element === null || wanted) return;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting === true) setNear(true);
    }, { rootMargin: MARGIN });
    observer.observe(element);
    return () => observer.disconnect();
  }, [wanted]);
  return (
    <section id={view.id} ref={section} class="view" aria-labelledby={`${view.id}-heading`} data-view={view.id}>
      <h2 id={`${view.id}-heading`} class={hidden.value.has("title") ? "visually-hidden" : "view-title"}>
        <span class="view-number" aria-hidden="true">
          {view.number}
        </span>
        {title}
      </h2>
      {wanted ? <Body view={view} /> : <Blank view={view} />}
    </section>
  );
}

function Blank({ view }: { view: ViewEntry }): JSX.Element {
  return <div class="view-blank" style={{ minHeight: `${view.height}rem` }} />;
}

function Body({ view }: { view: ViewEntry }): JSX.Element {
  const t = words.value.nav;
  const [component, setComponent] = useState<{ Of: ComponentType } | null>(null);
  const [failed, setFailed] = useState(false);
  const [thrown, forget] = useErrorBoundary(report);
  const fetch = () => {
    setFailed(false);
    view.load().then(
      (module) => setComponent({ Of: module.default }),
      () => setFailed(true),
    );
  };
  useEffect(fetch, [view]);
  useEffect(() => {
    if (view.needs === "model") void needModel();
  }, [view]);
  if (failed || thrown !== undefined) {
    return (
      <div class="view-blank notice">
        <p>{thrown === undefined ? t.failed : String(thrown)}</p>
        <p>
          <button type="button" onClick={() => (thrown === undefined ? fetch() : forget())}>
            {t.retry}
          </button>
        </p>
      </div>
    );
  }
  return component === null ? <Blank view={view} /> : <component.Of />;
}

/** The lab's controls; only the lab fetches them. */
export function Bench(): JSX.Element {
  const [component, setComponent] = useState<{ Of: ComponentType } | null>(null);
  useEffect(() => {
    import("../views/bench").then((module) => setComponent({ Of: module.default }), report);
  }, []);
  return (
    <aside class="bench" aria-label={words.value.nav.bench}>
      {component === null ? null : <component.Of />}
    </aside>
  );
}

/** Keeps `state.view` at the view that is being read. */
function followReading(): () => void {
  if (alone.peek() !== null) return () => undefined;
  const inSight = new Set<string>();
  // A band in the middle of the window: the view that crosses it is the one being read.
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) inSight.add(target.id);
        else inSight.delete(target.id);
      }
      const first = VIEWS.find((view) => inSight.has(view.id));
      if (first !== undefined) state.view.value = first.id;
      else if (scrollY < innerHeight / 2) state.view.value = "";
    },
    { rootMargin: "-35% 0px -60% 0px" },
  );
  for (const element of document.querySelectorAll("section[data-view]")) observer.observe(element);
  return () => observer.disconnect();
}
