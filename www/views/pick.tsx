/** A button that opens the file chooser; its input can be reached by keyboard. */

import type { JSX } from "preact";
import { useRef } from "preact/hooks";

export function Pick(props: {
  label: string;
  /** In the page's tests. */
  name: string;
  folder?: boolean;
  disabled?: boolean;
  onFiles: (files: readonly File[]) => void;
}): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" disabled={props.disabled === true} onClick={() => input.current?.click()}>
        {props.label}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        data-files={props.name}
        {...(props.folder === true ? { webkitdirectory: true } : {})}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          if (files.length > 0) props.onFiles(files);
        }}
      />
    </>
  );
}
