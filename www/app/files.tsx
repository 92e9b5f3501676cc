/** A model of the visitor's own: dropped, or picked. The files stay in the tab. */

import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { openFiles, session, start } from "./session";
import { words } from "./state";

/** Files of a drop, with those of dropped folders. */
export async function droppedFiles(transfer: DataTransfer): Promise<File[]> {
  // Entries must be taken before the first await: the list is emptied when the event is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const loose = [...transfer.files];
  if (entries.every((entry) => entry === null || entry.isFile)) return loose;
  const found: File[] = [];
  for (const entry of entries) if (entry !== null) await collect(entry, found);
  return found;
}

async function collect(entry: FileSystemEntry, found: File[]): Promise<void> {
  if (isFile(entry)) {
    found.push(await new Promise<File>((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  if (!isFolder(entry)) return;
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out its entries in portions, and an empty one at the end.
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (portion.length === 0) return;
    for (const child of portion) await collect(child, found);
  }
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const isFolder = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;

/** What to call files that were dropped or picked: their folder, else the first of them. */
export function droppedName(files: readonly File[]): string {
  const path = files[0]?.webkitRelativePath ?? "";
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : (files[0]?.name ?? "");
}

export function FilePanel(): JSX.Element {
  const t = words.value.files;
  const folder = useRef<HTMLInputElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const take = (input: HTMLInputElement) => {
    const picked = [...(input.files ?? [])];
    input.value = "";
    void openFiles(picked);
  };
  return (
    <section class="panel" aria-labelledby="files-heading">
      <h2 id="files-heading">{t.heading}</h2>
      <p>{t.about}</p>
      <p class="row">
        <button type="button" onClick={() => folder.current?.click()}>
          {t.pickFolder}
        </button>
        <button type="button" onClick={() => files.current?.click()}>
          {t.pickFiles}
        </button>
        {session.name.value === null ? null : (
          <button type="button" onClick={() => void start()}>
            {t.original}
          </button>
        )}
      </p>
      <p class="small muted" role="status">
        {t.loadedFrom(session.name.value ?? t.builtIn)}
      </p>
      <input
        ref={folder}
        type="file"
        hidden
        data-pick="folder"
        {...{ webkitdirectory: true }}
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={files}
        type="file"
        hidden
        multiple
        data-pick="files"
        onChange={(event) => take(event.currentTarget)}
      />
    </section>
  );
}
