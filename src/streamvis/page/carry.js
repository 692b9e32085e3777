// What a person set in a page, to be carried over into another load of it: ranges, selections, widgets, tabs, hidden curves, scroll.
// Follows link.js in the same function. A model is found again by its type and what it is called: its name, its title, or what its
// figure or source is called. One that is called nothing is found by its type and its place among those, where the other load has as
// many of them.
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
  for (const model of doc.all_models ?? []) call(model, title_of(model))
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
const places = () => {
  const counts = new Map(), found = new Map()
  for (const [model, name] of names()) {
    const kind = `${model.type}:${name}`, nth = counts.get(kind) ?? 0
    counts.set(kind, nth + 1)
    found.set(`${kind}:${nth}`, model)
  }
  return {counts, found}
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
  const {counts, found} = places(), models = {}
  for (const [place, model] of found) {
    const attrs = {}
    const is_moved = is_range(model) && (window.streamvis.is_moved?.(model) ?? model.have_updated_interactively)
    if (is_moved) Object.assign(attrs, {start: model.start, end: model.end})
    for (const attr of set_by_person.get(model) ?? []) if (plain(model[attr])) attrs[attr] = model[attr]
    if (Object.keys(attrs).length > 0) models[place] = attrs
  }
  return {counts: Object.fromEntries(counts), models, scroll: [scrollX, scrollY], runs: JSON.parse(link.shown).runs ?? []}
}
window.streamvis.restore = (carried) => {
  const {counts, found} = places(), same_runs = JSON.stringify(carried.runs.map(({id}) => id)) ==
    JSON.stringify((JSON.parse(link.shown).runs ?? []).map(({id}) => id))
  for (const [place, attrs] of Object.entries(carried.models)) {
    const model = found.get(place), kind = place.slice(0, place.lastIndexOf(":"))
    if (model == null || (kind.endsWith(":") && counts.get(kind) != carried.counts[kind])) continue
    // The rows of another run are others.
    if ("indices" in attrs && !same_runs) continue
    try {
      model.setv(attrs)
      if (is_range(model)) model.have_updated_interactively = true
    } catch { /* a value that the other load does not take */ }
  }
  scrollTo(...carried.scroll)
}
