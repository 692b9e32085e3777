// What a person set in a page, to be carried over into another load of it: ranges, selections, widgets, tabs, hidden curves, scroll.
// Follows link.js in the same function. A model is found again by its type and what it is called: its name, its title, or what its
// figure or source is called. One that is not found so is found by its place among those of its type, where the other load has as many.
const CARRIED = new Set(["value", "active", "visible", "muted", "indices", "end", "start"])
const doc = link.document, set_by_person = new Map()

const title_of = ({name, title, tabs}) => {
  if (name) return name
  if (typeof title == "string") return title
  return typeof title?.text == "string" ? title.text : Array.isArray(tabs) ? tabs.map(({title}) => title).join() : ""
}
// What all models are called. Those without a word of their own: after the figure or the source that has them.
const names = () => {
  const found = new Map(), call = (model, name) => { if (model != null && !found.get(model)) found.set(model, name) }
  for (const model of doc.all_models ?? []) {
    try { call(model, title_of(model)) } catch { found.set(model, "") } // a property of an author's own model that is not set
  }
  for (const plot of found.keys()) {
    const name = found.get(plot)
    if (!name || !("x_range" in plot && "renderers" in plot)) continue
    for (const side of ["x_range", "y_range"]) call(plot[side], `${name}.${side}`)
    const of_legends = plot.renderers.length == 0 ? [] : [...found.keys()].filter((model) => model.type == "Legend" && plot.center?.includes(model))
    for (const {label, renderers} of of_legends.flatMap(({items}) => items))
      for (const renderer of renderers) call(renderer, `${name}.${label?.value ?? label?.field ?? ""}`)
    for (const renderer of plot.renderers) if (found.get(renderer)) call(renderer.data_source, `${found.get(renderer)}.source`)
  }
  for (const [model, name] of [...found]) if (name && model.selected != null) call(model.selected, `${name}.selected`)
  return found
}
// Where each model is to be found, by what it is called and by its place, the surest first; and how many there are of each kind.
const places = () => {
  const counts = new Map(), found = new Map(), keys = new Map()
  for (const [model, name] of names())
    keys.set(model, [`${model.type}:${name}`, model.type].map((kind) => {
      const nth = counts.get(kind) ?? 0, key = `${kind}#${nth}`
      counts.set(kind, nth + 1)
      found.set(key, model)
      return key
    }))
  return {counts, found, keys}
}
const is_range = (model) => "start" in model && "end" in model && model.properties.bounds != null && !("value" in model)

// Values that were set in the browser: the server's come without `sync`. Ranges move by themselves, and are told apart below.
doc.on_change((event) => {
  if (event.kind != "ModelChanged" || !event.sync || !CARRIED.has(event.attr) || is_range(event.model) || event.model == link) return
  if (!set_by_person.has(event.model)) set_by_person.set(event.model, new Set())
  set_by_person.get(event.model).add(event.attr)
})

const plain = (value) => value == null || ["string", "number", "boolean"].includes(typeof value) ||
  (Array.isArray(value) && value.every(plain))
window.streamvis.carry = () => {
  const {counts, keys} = places(), models = []
  for (const [model, its] of keys) {
    const attrs = {}
    const is_moved = is_range(model) && (window.streamvis.is_moved?.(model) ?? model.have_updated_interactively)
    if (is_moved) Object.assign(attrs, {start: model.start, end: model.end})
    for (const attr of set_by_person.get(model) ?? []) if (plain(model[attr])) attrs[attr] = model[attr]
    if (Object.keys(attrs).length > 0) models.push([its, attrs])
  }
  return {counts: Object.fromEntries(counts), models, scroll: [scrollX, scrollY], runs: JSON.parse(link.shown).runs ?? []}
}
window.streamvis.restore = (carried) => {
  const {counts, found} = places(), same_runs = JSON.stringify(carried.runs.map(({id}) => id)) ==
    JSON.stringify((JSON.parse(link.shown).runs ?? []).map(({id}) => id))
  // A place means the same in both where there are as many of the kind.
  const is_sure = (kind) => /:./.test(kind) || counts.get(kind) == carried.counts[kind]
  for (const [keys, attrs] of carried.models) {
    const model = found.get(keys.find((key) => found.has(key) && is_sure(key.slice(0, key.lastIndexOf("#")))))
    if (model == null) continue
    // The rows of another run are others.
    if ("indices" in attrs && !same_runs) continue
    try {
      model.setv(attrs)
      if (is_range(model)) model.have_updated_interactively = true
    } catch { /* a value that the other load does not take */ }
  }
  scrollTo(...carried.scroll)
}
