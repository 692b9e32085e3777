// What a person set in a page, to be carried over into another load of it: ranges, selections, widgets, tabs, hidden curves, scroll.
// Follows link.js in the same function. A model is found again by its type and name; one without a name by its type and its
// place among those, where the other load has as many of them.
const CARRIED = new Set(["value", "active", "visible", "muted", "indices", "end", "start"])
const doc = link.document, set_by_person = new Map()

const places = () => {
  const counts = new Map(), found = new Map()
  for (const model of doc.all_models ?? []) {
    const kind = `${model.type}:${model.name ?? ""}`, nth = counts.get(kind) ?? 0
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
    if (model == null || (!model.name && counts.get(kind) != carried.counts[kind])) continue
    // The rows of another run are others.
    if ("indices" in attrs && !same_runs) continue
    try {
      model.setv(attrs)
      if (is_range(model)) model.have_updated_interactively = true
    } catch { /* a value that the other load does not take */ }
  }
  scrollTo(...carried.scroll)
}
