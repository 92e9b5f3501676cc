/** Numbers with their names. */

import type { JSX } from "preact";

export function Figures({ rows }: { rows: readonly (readonly [name: string, figure: string])[] }): JSX.Element {
  return (
    <dl class="figures">
      {rows.map(([name, figure]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{figure}</dd>
        </div>
      ))}
    </dl>
  );
}
