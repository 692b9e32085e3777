// Configs and summaries of some runs side by side; lines in which they differ are marked, and can be shown alone.
import {ask} from "./api.js"
import {Dot} from "./bar.js"
import {STATISTICS, took} from "./columns.js"
import {html, text, useEffect, useLayoutEffect, useRef, useState} from "./ui.js"

const MOST_COLUMNS = 99

// The parts of a config by their paths, as deep as it goes.
const parts_of = (value, path = "", into = new Map()) => {
  if (value != null && typeof value == "object" && !Array.isArray(value)) {
    for (const [name, part] of Object.entries(value)) parts_of(part, path ? `${path}.${name}` : name, into)
  } else into.set(path, value)
  return into
}
const line_of = (name, values) => ({name, values, differs: new Set(values.map((value) => JSON.stringify(value ?? null))).size > 1})

const load = async (ids) => {
  const {runs: [first]} = await ask("runs", {run: ids.slice(0, 1), archived: "any"}), {summaries} = await ask("names", {app: first?.app})
  const columns = summaries.flatMap((name) => STATISTICS.slice(0, 3).map((one) => `${name}.${one}`)).slice(0, MOST_COLUMNS)
  const {runs} = await ask("runs", {run: ids, archived: "any", config: true, column: columns, limit: ids.length})
  const by_id = new Map(runs.map((run) => [run.run, run])), found = ids.map((id) => by_id.get(id)).filter(Boolean)
  const configs = found.map(({config}) => parts_of(config ?? {})), names = [...new Set(configs.flatMap((config) => [...config.keys()]))]
  const about = [["state", ({state}) => state], ["took", took], ["last step", ({last_step}) => last_step], ["tags", ({tags}) => (tags ?? []).join(", ")], ["note", ({note}) => note]]
  return {runs: found, sections: [
    ["Run", about.map(([name, of]) => line_of(name, found.map(of)))],
    ["Config", names.map((name) => line_of(name, configs.map((config) => config.get(name))))],
    ["Summaries", columns.map((name) => line_of(name, found.map(({columns}) => columns?.[name]))).filter(({values}) => values.some((value) => value != null))],
  ]}
}

export const Compare = ({ids, close}) => {
  const dialog = useRef(null), [data, set_data] = useState(null), [trouble, set_trouble] = useState(null), [only, set_only] = useState(false)
  useLayoutEffect(() => { dialog.current.showModal() }, [])
  useEffect(() => { load(ids).then(set_data, (error) => set_trouble(error.message)) }, [ids.join()])
  const lines = (section) => section.filter(({differs}) => !only || differs)
  return html`<dialog class="compare" ref=${dialog} onClose=${close} aria-label="Compare runs">
    <header><h2>Compare ${ids.length} runs</h2><label><input type="checkbox" checked=${only} onChange=${() => set_only(!only)} />Only what differs</label>
      <span class="space"></span><button onClick=${close}>Close</button></header>
    ${trouble && html`<p class="trouble">${trouble}</p>`}
    ${data == null ? !trouble && html`<p class="muted">Loading …</p>` : html`<div class="scroller"><table>
      <thead><tr><th></th>${data.runs.map((run) => html`<th key=${run.run} scope="col"><${Dot} color=${run.color} />${run.name}</th>`)}</tr></thead>
      ${data.sections.map(([title, section]) => html`<tbody key=${title}><tr class="section"><th colspan=${data.runs.length + 1} scope="rowgroup">${title}</th></tr>
        ${lines(section).map(({name, values, differs}) => html`<tr class=${differs ? "differs" : ""} key=${name}><th scope="row">${name}</th>${values.map((value) => html`<td>${text(value)}</td>`)}</tr>`)}</tbody>`)}
    </table></div>`}
  </dialog>`
}
