// The run list as it stands beside a page, and alone at the root: the search box, how it is arranged, what is chosen, and the table.
import {Actions, Form, Menu} from "./actions.js"
import {short, STATISTICS} from "./columns.js"
import {Compare} from "./compare.js"
import {Search} from "./search.js"
import {Table} from "./table.js"
import {html, useRef, useState, useStore} from "./ui.js"

// Which columns, in which groups, and what is archived.
const BANDS = {std: "mean and standard deviation", sem: "mean and standard error", ci95: "mean and 95 % interval", quartiles: "median and quartiles",
  range: "mean, lowest and highest"}

const Arrange = ({list, close, is_beside}) => {
  useStore(list)
  const {names} = list, shown = list.shown_columns
  const toggle = (name) => list.arrange({columns: shown.includes(name) ? shown.filter((other) => other != name) : [...shown, name]})
  const box = (name, label) => html`<label key=${name}><input type="checkbox" checked=${shown.includes(name)} onChange=${() => toggle(name)} />${label}</label>`
  return html`<div class="arrange" role="group" aria-label="Columns, groups and archive">
    <label>Group by <select value=${list.group ?? ""} onChange=${(event) => list.arrange({group: event.target.value || null})}>
      <option value="">nothing</option>${names.config.map(({name}) => html`<option value=${name} key=${name}>${short(name)}</option>`)}</select></label>
    ${is_beside && list.group != null && html`<label>Bands show <select value=${list.stat ?? "std"} onChange=${(event) => list.arrange({stat: event.target.value})}>
      ${Object.entries(BANDS).map(([name, label]) => html`<option value=${name} key=${name}>${label}</option>`)}</select></label>`}
    <label>Show <select value=${list.archived} onChange=${(event) => list.arrange({archived: event.target.value})}>
      <option value="false">runs that are not archived</option><option value="true">archived runs</option><option value="any">all runs</option></select></label>
    <fieldset><legend>Config</legend>${names.config.map(({name, differs}) => box(name, html`${short(name)}${differs ? "" : html` <span class="muted">same in all</span>`}`))}</fieldset>
    <fieldset><legend>Summaries</legend>${names.summaries.flatMap((name) => STATISTICS.slice(0, 3).map((one) => box(`${name}.${one}`, `${name} ${one}`)))}</fieldset>
    <p class="buttons">${list.columns != null && html`<button onClick=${() => list.arrange({columns: null})}>Usual columns</button>`}<button onClick=${close}>Close</button></p>
  </div>`
}

// `chosen` is a set of ids, `shown` maps those of the runs on the page to their colours; `choose(ids, is_chosen)`, `open(run)` and `href(run)` are of the page around.
export const RunsPanel = ({list, site, chosen, shown, choose, open, href, clear, follows, show_all}) => {
  useStore(list)
  useStore(site)
  const [is_arranging, arrange] = useState(false), [menu, set_menu] = useState(null), [form, set_form] = useState(null)
  const [edited, edit] = useState(null), [is_comparing, compare] = useState(false), actions = useRef(null)
  actions.current ??= new Actions(list)
  const picked = list.those(chosen)
  const renamed = (run, name) => {
    if (edited != run.run) return
    edit(null)
    if (name != null && name.trim() && name != run.name) actions.current.rename(run, name.trim())
  }
  const on = {chosen, shown, edited, choose, open, href, rename: renamed, edit: (run) => edit(run.run),
    menu: (run, event) => set_menu({runs: chosen.has(run.run) && picked.length > 1 ? picked : [run], x: event.clientX, y: event.clientY})}
  const ask = (what) => what == "name" ? edit(menu.runs[0].run) : set_form({runs: menu.runs, what})
  return html`<section class="runs" aria-label="Runs">
    <div class="tools">
      <${Search} list=${list} />
      <button class="icon" aria-expanded=${is_arranging} onClick=${() => arrange(!is_arranging)} title="Columns, groups, archive" aria-label="Columns, groups, archive">☰</button>
    </div>
    ${is_arranging && html`<${Arrange} list=${list} close=${() => arrange(false)} is_beside=${follows != null} />`}
    <div class="counts" aria-live="polite">
      <span>${list.is_known ? `${list.matching.toLocaleString("en-US")} ${list.matching == 1 ? "run" : "runs"}` : list.trouble || list.error ? "" : "Loading …"}</span>
      ${list.trouble && html`<span class="trouble">${list.trouble}</span>`}
      ${follows != null && html`<button class="pin" aria-pressed=${follows} disabled=${follows} onClick=${clear}>Newest only</button>`}
      ${show_all != null && list.filter != null && html`<button onClick=${() => show_all(list.filter)} title="Includes runs that start later">Show all matching runs</button>`}
      ${chosen.size > 0 && html`<span>${chosen.size} chosen</span>`}
      ${chosen.size > 1 && html`<button onClick=${() => compare(true)}>Compare</button>`}
      ${picked.length > 0 && site.may_write && html`<button aria-haspopup="menu" onClick=${(event) => set_menu({runs: picked, x: event.clientX, y: event.clientY})}>Change …</button>`}
      ${follows == null && chosen.size > 0 && html`<button onClick=${clear}>Clear</button>`}
    </div>
    <${Table} list=${list} on=${on} may_write=${site.may_write} is_narrow=${follows != null} />
    ${list.is_known && list.matching == 0 && html`<p class="empty muted">${list.find ? "No run fits." : "No run yet. Start a producer, and it shows here."}</p>`}
    ${menu && html`<${Menu} asked=${menu} close=${() => set_menu(null)} actions=${actions.current} ask=${ask} />`}
    ${form && html`<${Form} asked=${form} close=${() => set_form(null)} actions=${actions.current} />`}
    ${is_comparing && html`<${Compare} ids=${[...chosen]} close=${() => compare(false)} />`}
  </section>`
}
