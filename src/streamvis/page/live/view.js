// The views of live sources in the browser (see session_sources.py). Runs once, when the document is ready, as the body of a CustomJS whose
// argument is `control`. What the viewer sees is decided here: ranges that follow are moved when data arrive, and a range that
// anybody else moved is not touched again until it is told to follow. Figures come and go by `control.news`.
const ASK_AFTER_MS = 30, RETRY_MS = 100, WIDTH_STEP_PX = 200, X_PADDING = 0, Y_PADDING = 0.1, FLAT = 1e-12
const plots = new Map(), ranges = new Map(), sources = new Map()
const heard = new WeakSet(), fresh = new Set(), to_ask = new Set()
let busy = false, timer = null, number = -1, misses = 0, moved_at = -Infinity

const move = (range, start, end) => {
  if (!Number.isFinite(start) || !Number.isFinite(end) || (range.start == start && range.end == end)) return
  busy = true
  try { range.setv({start, end}) } finally { busy = false }
}
// Lowest and highest of some columns of a source, in the rows that `inside` accepts.
const span = (source, fields, log, inside, into) => {
  for (const field of fields) {
    const column = source.data[field]
    if (column == null) continue
    for (let i = 0; i < column.length; i++) {
      const v = column[i]
      if (!Number.isFinite(v) || (log && v <= 0) || !inside(i)) continue
      if (v < into[0]) into[0] = v
      if (v > into[1]) into[1] = v
    }
  }
}
// Where a range starts and ends that shows what lies between `low` and `high`: the rules of moved_ranges.py.
const spread = ({is_x, log, kept}, low, high) => {
  const usable = (value) => value == null || (log && value <= 0) ? null : value
  const floor = usable(kept.flipped ? kept.end : kept.start), ceiling = usable(kept.flipped ? kept.start : kept.end)
  low = floor ?? low
  high = ceiling ?? high
  if (low > high) [low, high] = floor != null ? [low, low] : [high, high]
  const [bottom, top] = log ? [Math.log10(low), Math.log10(high)] : [low, high]
  const alone = log ? (is_x ? Math.log10(2) : 0.3) : is_x ? 0.5 : Math.abs(high) * Y_PADDING / 2 || 0.5
  const padding = kept.range_padding ?? (is_x ? X_PADDING : Y_PADDING)
  const is_flat = top - bottom <= (is_x ? 0 : FLAT * Math.max(Math.abs(bottom), Math.abs(top)))
  const around = is_flat ? (kept.default_span / 2 || alone) : kept.is_absolute ? padding : (top - bottom) * padding / 2
  let below = floor != null ? 0 : around, above = ceiling != null ? 0 : around
  const length = top - bottom + below + above
  const more = Math.min(Math.max(length, kept.min_interval ?? 0), kept.max_interval ?? Infinity) - length
  if (floor != null) above += more
  else if (ceiling != null || (is_x && more < 0)) below += more
  else { below += more / 2; above += more / 2 }
  const start = below == 0 ? low : log ? 10 ** (bottom - below) : low - below
  const end = above == 0 ? high : log ? 10 ** (top + above) : high + above
  return kept.flipped ? [end, start] : [start, end]
}
const fit_x = (one) => {
  const found = [Infinity, -Infinity]
  for (const curve of one.curves) if (curve.x == one) span(curve.source.model, curve.x_fields, one.log, () => true, found)
  if (found[0] > found[1]) return
  let [low, high] = found
  // A window is in the endpoint's units of x, where times are seconds.
  const scales = JSON.parse(control.scales), curve = [...one.curves].find((curve) => curve.x == one)
  if (one.window != null) low = Math.max(low, high - one.window * (scales[curve.source.model.id] ?? 1))
  move(one.model, ...spread(one, low, high))
}
const fit_y = (one) => {
  const found = [Infinity, -Infinity]
  for (const curve of one.curves) {
    if (curve.y != one || !curve.renderer.visible) continue
    // Of factors all are shown, and so are their rows.
    const source = curve.source.model, x = curve.x.is_number ? source.data[curve.x_fields[0]] : null, {start, end} = curve.x.model
    const low = Math.min(start, end), high = Math.max(start, end)
    span(source, curve.y_fields, one.log, (i) => x == null || (x[i] >= low && x[i] <= high), found)
  }
  if (found[0] <= found[1]) move(one.model, ...spread(one, ...found))
}
// Moves the ranges that follow and on which something new may be to be seen: those of the curves.
const fit = (curves) => {
  const xs = new Set(), ys = new Set()
  for (const curve of curves) { ys.add(curve.y); if (curve.x.is_x && curve.x.follows) xs.add(curve.x) }
  for (const one of xs) { fit_x(one); for (const curve of one.curves) ys.add(curve.y) }
  for (const one of ys) if (!one.is_x && one.follows) fit_y(one)
  offer()
}

// What a source has to show: the range that its figures show together, or all of it (null) where one of them follows.
const view_of = (source) => {
  let view = [Infinity, -Infinity]
  for (const curve of source.curves) {
    const {model, follows, is_number} = curve.x
    if (follows || !is_number) return null
    view = [Math.min(view[0], model.start, model.end), Math.max(view[1], model.start, model.end)]
  }
  return view.every(Number.isFinite) && view[0] < view[1] ? view : null
}
// How many pixels the widest figure of a source has; in steps, so that a small change of size asks for nothing.
const width_of = (source) => {
  let width = 0
  for (const {plot} of source.curves) width = Math.max(width, plot.inner_width || 0)
  return Math.ceil(width * Math.min(2, devicePixelRatio || 1) / WIDTH_STEP_PX) * WIDTH_STEP_PX
}
const ask = () => {
  const views = {}
  for (const source of to_ask) {
    const view = [view_of(source), width_of(source)], text = JSON.stringify(view)
    if (text != source.asked) { source.asked = text; views[source.model.id] = view }
  }
  to_ask.clear()
  if (Object.keys(views).length > 0) control.views = JSON.stringify(views)
}
const ask_for = (curves) => { for (const curve of curves) to_ask.add(curve.source) }
const ask_soon = () => { clearTimeout(timer); timer = setTimeout(ask, ASK_AFTER_MS) }
// A move that stands alone is asked for at once, as is the first of several; the last of them once there was none for a while.
const ask_for_move = () => {
  const is_first = performance.now() - moved_at > ASK_AFTER_MS
  moved_at = performance.now()
  if (is_first) ask()
  ask_soon()
}
const moved = (one) => {
  if (busy) return
  one.follows = false
  one.is_moved = true
  if (one.is_x) { ask_for(one.curves); ask_for_move(); for (const curve of one.curves) if (!curve.y.is_x && curve.y.follows) fit_y(curve.y) }
  offer()
}
const follow = (chosen) => {
  const curves = new Set()
  for (const one of chosen) { one.follows = one.is_number; one.is_moved = false; for (const curve of one.curves) curves.add(curve) }
  fit(curves)
  ask_for(curves)
  ask()
}

// A button in the corner of a figure, beside its title, leads back to following.
const buttons = new Map()
const button_of = (id) => {
  const view = globalThis.Bokeh?.index?.find_one?.(plots.get(id)?.[0]?.plot)
  if (view?.el == null) return null
  let button = buttons.get(id)
  if (button == null) {
    buttons.set(id, button = document.createElement("button"))
    button.className = "streamvis-follow"
    button.textContent = "⇥ Follow"
    button.title = "Show and follow the newest data"
    button.style.cssText = "position:absolute;top:3px;left:50%;transform:translateX(-50%);z-index:20;font:600 11px system-ui,sans-serif;" +
      "padding:1px 9px;border-radius:9px;border:0;background:#2f7ed8;color:#fff;cursor:pointer"
    button.onclick = () => follow(ranges_of(id))
  }
  const inside = view.el.shadowRoot ?? view.el
  if (button.parentNode != inside) inside.append(button)
  return button
}
const ranges_of = (id) => new Set((plots.get(id) ?? []).flatMap((curve) => [curve.x, curve.y]))
const offer = () => {
  for (const [id, button] of buttons) if (!plots.has(id)) { button.remove(); buttons.delete(id) }
  for (const id of plots.keys()) {
    const is_away = [...ranges_of(id)].some((one) => one.is_moved)
    const button = is_away ? button_of(id) : buttons.get(id)
    if (button != null) button.style.display = is_away ? "" : "none"
  }
}

// Listeners stay with a model for as long as it lives: one that left the document and came back is heard once.
const hear = (model, listen) => { if (!heard.has(model)) { heard.add(model); listen() } }
const range_of = (id, facts) => {
  const model = control.document.get_model_by_id(id)
  if (model == null) return null
  let one = ranges.get(id)
  if (one == null || one.model != model) ranges.set(id, one = {model, follows: facts.follows, can_reset: facts.follows, is_moved: false, curves: new Set()})
  Object.assign(one, {is_x: facts.is_x, is_number: facts.is_number, log: facts.log, window: facts.window, kept: facts.kept})
  if (!one.is_number) return one // a range of factors is Bokeh's: there is nothing to fit
  const tell = () => { const its = ranges.get(id); if (its?.model == model) moved(its) }
  hear(model, () => { model.properties.start.change.connect(tell); model.properties.end.change.connect(tell) })
  return one
}
const source_of = (id) => {
  const model = control.document.get_model_by_id(id)
  if (model == null) return null
  let one = sources.get(id)
  if (one == null || one.model != model) sources.set(id, one = {model, asked: "", curves: new Set()})
  const note = () => fresh.add(id)
  hear(model, () => { model.streaming.connect(note); model.properties.data.change.connect(note) })
  return one
}
const release = (id) => {
  for (const curve of plots.get(id) ?? []) {
    for (const [all, one] of [[ranges, curve.x], [ranges, curve.y], [sources, curve.source]]) {
      one.curves.delete(curve)
      if (one.curves.size == 0 && all.get(one.model.id) == one) all.delete(one.model.id)
    }
    to_ask.add(curve.source)
  }
  plots.delete(id)
}
// Takes in what a plot draws now, and gives its curves; null when the document has not all of its models.
const take = (id, {ranges: facts, curves: drawn}) => {
  const plot = control.document.get_model_by_id(id), curves = []
  if (plot == null) return null
  for (const {renderer, source, x, y, x_fields, y_fields} of drawn) {
    const curve = {plot, renderer: control.document.get_model_by_id(renderer), source: source_of(source), x: range_of(x, facts[x]),
      y: range_of(y, facts[y]), x_fields, y_fields}
    if (Object.values(curve).includes(null)) return null
    curves.push(curve)
  }
  for (const curve of curves) for (const one of [curve.x, curve.y, curve.source]) one.curves.add(curve)
  release(id)
  plots.set(id, curves)
  hear(plot, () => {
    plot.on_event("reset", () => follow([...ranges_of(id)].filter((one) => one.can_reset)))
    plot.properties.inner_width.change.connect(() => { ask_for(plots.get(id) ?? []); ask_soon() })
  })
  return curves
}
// Another number each time, since only a change reaches the server.
const miss = () => { misses += 1; control.read = -1 - misses }
const read = () => {
  const news = JSON.parse(control.news), is_whole = news.after == null
  if (news.number == null || news.number == number) return
  if (!is_whole && news.after != number) return miss()
  number = news.number
  if (is_whole) for (const id of [...plots.keys()]) if (!(id in news.plots)) release(id)
  const shown = []
  let is_all = true
  for (const [id, its] of Object.entries(news.plots)) {
    const curves = its == null ? (release(id), []) : take(id, its)
    if (curves == null) is_all = false
    shown.push(...(curves ?? []))
  }
  fit(shown)
  ask_for(shown)
  ask()
  if (!is_all) setTimeout(miss, RETRY_MS)
  else if (is_whole) control.read = number
}

// Whether somebody has moved a range; undefined for one of factors, or that no live source is drawn in.
window.streamvis = {...window.streamvis, is_moved: (model) => [...ranges.values()].find((one) => one.model == model && one.is_number)?.is_moved}

// Within a patch, models that came with it are not in the document yet.
control.properties.news.change.connect(() => setTimeout(read, 0))
control.properties.tick.change.connect(() => {
  const curves = [...fresh].flatMap((id) => [...(sources.get(id)?.curves ?? [])])
  fresh.clear()
  fit(curves)
})
read()
