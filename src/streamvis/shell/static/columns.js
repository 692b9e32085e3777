// The columns of the run list: what each is called, how wide it is, what it orders by and how a cell is written.
import {duration, html, moment, text} from "./ui.js"

export const STATISTICS = ["last", "min", "max", "last_step", "min_step", "max_step", "count"]

const life = (run) => {
  const now = Date.now() / 1000
  if (run.state == "running") return "running"
  if (run.state == "vanished") return `vanished, ${duration(now - run.updated)} ago`
  return run.state
}
export const took = (run) => {
  const end = run.state == "running" ? Date.now() / 1000 : run.ended ?? run.updated
  return end > run.created ? duration(end - run.created) : ""
}
const tags = (run) => (run.tags ?? []).map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)

// The name of a value without what all have in common, for a narrow head.
export const short = (name) => name.replace(/^config\./, "")

const FIXED = {
  app: {title: "App", width: 130, order: "app", cell: (run) => run.app},
  state: {title: "State", width: 150, order: "state", cell: (run) => html`<span class="state ${run.state}" title=${life(run)}>${life(run)}</span>`},
  created: {title: "Began", width: 150, order: "created", falls: true, cell: (run) => moment(run.created)},
  took: {title: "Took", width: 90, cell: took},
  step: {title: "Last step", width: 90, order: "step", falls: true, is_number: true, cell: (run) => run.last_step ?? ""},
  tags: {title: "Tags", width: 140, cell: tags},
  note: {title: "Note", width: 200, order: "note", cell: (run) => run.note ?? ""},
}

const value_column = (name, is_narrow) => ({
  name, title: short(name), width: is_narrow ? 78 : 110, order: name, hint: name,
  cell: (run) => text(run.columns?.[name]), is_number: true,
})

export const columns_of = (list, is_narrow) => {
  const {app, ...rest} = FIXED, state = {...rest.state, width: is_narrow ? 78 : rest.state.width}
  delete rest.state
  const always = list.app == null ? {app, state} : {state}
  const named = (all) => Object.entries(all).map(([name, column]) => ({name, ...column}))
  return [...named(always), ...list.shown_columns.map((name) => value_column(name, is_narrow)), ...named(rest)]
}
