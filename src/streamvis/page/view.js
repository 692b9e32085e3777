// The views of live sources in the browser (see view.py). Runs once, when the document is ready, as the body of a CustomJS whose
// arguments are `control`, `link`, `sources`, `ranges` and `plots`. Here is the truth about what the viewer sees: ranges that
// follow are moved here when data come, and a range that anybody else moved is never touched again, until it is told to follow.
const ASK_AFTER_MS = 30, PADDING = 0.05
const spec = JSON.parse(control.spec)
const state = ranges.map((range, i) => ({range, follows: spec.ranges[i].follows, ...spec.ranges[i]}))
let busy = false, timer = null

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
const fit_x = (one) => {
  const found = [Infinity, -Infinity]
  for (const curve of spec.curves) if (curve.x == one.index) span(sources[curve.source], curve.x_fields, one.log, () => true, found)
  if (found[0] > found[1]) return
  let [low, high] = found
  // A window is in the endpoint's units of x, where times are seconds.
  const curve = spec.curves.find((curve) => curve.x == one.index)
  if (one.window != null) low = Math.max(low, high - one.window * (JSON.parse(control.scales)[curve.source] ?? 1))
  if (low == high) [low, high] = one.log ? [low / 2, high * 2] : [low - 0.5, high + 0.5]
  move(one.range, low, high)
}
const fit_y = (one) => {
  const found = [Infinity, -Infinity]
  for (const curve of spec.curves) {
    if (curve.y != one.index || !plots[curve.plot].renderers[curve.renderer].visible) continue
    const source = sources[curve.source], x = source.data[curve.x_fields[0]], {start, end} = state[curve.x].range
    const low = Math.min(start, end), high = Math.max(start, end)
    span(source, curve.y_fields, one.log, (i) => x == null || (x[i] >= low && x[i] <= high), found)
  }
  let [low, high] = found
  if (low > high) return
  if (one.log) {
    const pad = Math.max(Math.log10(high / low) * PADDING, low == high ? 0.3 : 0)
    move(one.range, low / 10 ** pad, high * 10 ** pad)
  } else {
    const pad = (high - low) * PADDING || Math.abs(high) * PADDING || 0.5
    move(one.range, low - pad, high + pad)
  }
}
const fit = () => {
  for (const one of state) if (one.is_x && one.follows) fit_x(one)
  for (const one of state) if (!one.is_x && one.follows) fit_y(one)
  offer()
}

// What each source has to show: the range that its figures show together, or all of it where one of them follows.
const ask = () => {
  const views = sources.map((_, s) => {
    let view = [Infinity, -Infinity]
    for (const curve of spec.curves) {
      if (curve.source != s) continue
      const {range, follows} = state[curve.x]
      if (follows) return null
      view = [Math.min(view[0], range.start, range.end), Math.max(view[1], range.start, range.end)]
    }
    return view.every(Number.isFinite) && view[0] < view[1] ? view : null
  })
  control.views = JSON.stringify(views)
}
const ask_soon = () => { clearTimeout(timer); timer = setTimeout(ask, ASK_AFTER_MS) }
const moved = (one) => {
  if (busy) return
  one.follows = false
  if (one.is_x) { ask_soon(); for (const y of state) if (!y.is_x && y.follows) fit_y(y) }
  offer()
}
const follow = (chosen) => {
  for (const one of chosen) one.follows = true
  fit()
  ask()
}

const button = document.createElement("button")
button.textContent = "⇥ Follow the newest data"
button.style.cssText = "position:fixed;left:50%;bottom:12px;transform:translateX(-50%);z-index:99998;font:600 13px system-ui,sans-serif;padding:7px 14px;" +
  "border-radius:16px;border:1px solid #2f7ed8;background:#2f7ed8;color:#fff;cursor:pointer;box-shadow:0 2px 10px #0005"
button.id = "streamvis-follow"
button.hidden = true
button.onclick = () => follow(state)
document.body.append(button)
const offer = () => { button.hidden = state.every((one) => one.follows) }

for (const one of state) {
  one.range.properties.start.change.connect(() => moved(one))
  one.range.properties.end.change.connect(() => moved(one))
}
plots.forEach((plot, i) => plot.on_event("reset", () => {
  const curves = spec.curves.filter((curve) => curve.plot == i)
  follow(state.filter((one) => one.can_reset && curves.some((curve) => curve.x == one.index || curve.y == one.index)))
}))
control.properties.tick.change.connect(fit)
fit()
if (state.some((one) => one.is_x && !one.follows)) ask()
