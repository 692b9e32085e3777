// What panels do in the browser (see streamvis.panels). Runs once per page, and may find figures that come later: those call
// `window.streamvisPanels` from their own events.
if (window.streamvisPanels == null) {
  const card = document.createElement("div")
  card.id = "streamvis-readout"
  card.style.cssText = "position:fixed;z-index:99995;pointer-events:none;display:none;max-width:min(420px,80vw);padding:6px 10px;border-radius:6px;" +
    "font:12px/1.5 system-ui,sans-serif;background:var(--panel,#fff);color:var(--text,#1f2933);border:1px solid var(--line,#ccc);box-shadow:0 3px 12px #0003"
  document.body.append(card)

  const element = (tag, text, style) => {
    const made = document.createElement(tag)
    if (text != null) made.textContent = text
    if (style != null) made.style.cssText = style
    return made
  }
  const number = (v) => {
    if (v == null) return "–"
    if (typeof v != "number") return String(v)
    if (!Number.isFinite(v)) return String(v)
    if (Number.isInteger(v) && Math.abs(v) < 1e15) return v.toLocaleString("en-US").replaceAll(",", " ")
    const size = Math.abs(v)
    return size >= 1e6 || size < 1e-4 ? v.toExponential(4) : String(Number(v.toPrecision(6)))
  }
  const moment = (ms) => ms == null || !Number.isFinite(ms) ? "" : new Date(ms).toLocaleTimeString([], {hour12: false})
  // The row whose x is nearest; rows without a value of `y` are passed over.
  const nearest = (xs, ys, x) => {
    let best = -1, distance = Infinity
    for (let i = 0; i < xs.length; i++) {
      const d = Math.abs(xs[i] - x)
      if (d < distance && !Number.isNaN(ys[i])) { best = i; distance = d }
    }
    return best
  }
  const place = (event) => {
    const {innerWidth, innerHeight} = window, {offsetWidth, offsetHeight} = card
    const left = event.clientX + 16 + offsetWidth > innerWidth ? event.clientX - 16 - offsetWidth : event.clientX + 16
    card.style.left = `${Math.max(4, left)}px`
    card.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - offsetHeight - 4))}px`
  }
  let pointer = {clientX: 0, clientY: 0}
  addEventListener("pointermove", (event) => { pointer = event; if (card.style.display != "none") place(event) }, {passive: true, capture: true})

  const hide = () => { card.style.display = "none" }
  const field = (object, name) => object instanceof Map ? object.get(name) : object?.[name]
  const curve_of = (renderer) => renderer.tags.map((tag) => field(tag, "streamvis curve")).find((tag) => tag != null)
  // The values of all curves of a figure at the x where the mouse is.
  const read = (event) => {
    const rows = [], plot = event.origin, x_is_time = plot.below[0]?.type == "DatetimeAxis"
    let at = null
    for (const renderer of plot.renderers) {
      const curve = curve_of(renderer)
      if (curve == null || !renderer.visible) continue
      const [name, x, y, smooth, runs] = ["name", "x", "y", "smooth", "runs"].map((part) => field(curve, part))
      const data = Object.fromEntries(renderer.data_source.data instanceof Map ? renderer.data_source.data : Object.entries(renderer.data_source.data))
      const i = nearest(data[x], data[y], event.x)
      if (i < 0) continue
      if (at == null || Math.abs(data[x][i] - event.x) < Math.abs(at.x - event.x)) at = {x: data[x][i], step: data.step?.[i], time: data.time?.[i]}
      rows.push({name, runs: runs ? data[runs]?.[i] : null, color: renderer.glyph.line_color.value ?? renderer.glyph.line_color, value: data[y][i], smooth: smooth ? data[smooth]?.[i] : null})
    }
    if (at == null) return hide()
    const head = []
    if (at.step != null) head.push(`step ${number(at.step)}`)
    else if (!x_is_time) head.push(number(at.x))
    if (at.time != null) head.push(moment(at.time))
    const parts = [element("div", head.join("  ·  "), "color:var(--muted,#667);margin-bottom:2px")]
    for (const row of rows.slice(0, 20)) {
      const line = element("div", null, "display:flex;gap:8px;align-items:baseline")
      line.append(element("span", "", `flex:none;width:9px;height:9px;border-radius:50%;background:${row.color}`),
        element("span", row.name, "flex:1;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"),
        element("b", number(row.value), "font-variant-numeric:tabular-nums"))
      if (row.runs != null) line.append(element("span", row.runs == 1 ? "1 run" : `${row.runs} runs`, "color:var(--muted,#667)"))
      if (row.smooth != null) line.append(element("span", `≈ ${number(row.smooth)}`, "color:var(--muted,#667)"))
      parts.push(line)
    }
    if (rows.length > 20) parts.push(element("div", `and ${rows.length - 20} more`, "color:var(--muted,#667)"))
    card.replaceChildren(...parts)
    card.style.display = "block"
    place(pointer)
  }
  // What tools would do in a figure that has none: a line where the mouse is, dragging zooms, a double click goes back.
  const LEAST_DRAG_PX = 8
  const mark = element("div"), area = element("div")
  let drag = null
  const frame_of = (plot) => view_of(plot)?.frame?.bbox
  const put = (shown, plot, left, top, width, height, look) => {
    const view = view_of(plot), inside = view?.el.shadowRoot ?? view?.el
    if (inside == null) return
    shown.style.cssText = `position:absolute;pointer-events:none;z-index:10;left:${left}px;top:${top}px;width:${width}px;height:${height}px;${look}`
    if (shown.parentNode != inside) inside.append(shown)
  }
  const between = (a, b, low, high) => [Math.min(a, b), Math.max(a, b)].map((at) => Math.min(Math.max(at, low), high))
  const ends = (range) => [Math.min(range.start, range.end), Math.max(range.start, range.end)]
  const mouse = (event) => {
    const plot = event.origin, frame = frame_of(plot)
    if (frame == null) return
    const is_inside = event.sx >= frame.left && event.sx <= frame.right && event.sy >= frame.top && event.sy <= frame.bottom
    if (event.event_name == "doubletap") return plot.reset.emit()
    if (event.event_name == "mouseleave" || (event.event_name == "mousemove" && !is_inside)) { mark.remove(); return hide() }
    if (event.event_name == "mousemove") {
      put(mark, plot, event.sx, frame.top, 1, frame.height, "background:#76808a99")
      return read(event)
    }
    if (event.event_name == "panstart") drag = is_inside ? {plot, x: event.x, y: event.y, sx: event.sx, sy: event.sy} : null
    if (drag?.plot != plot) return
    const [left, right] = between(drag.sx, event.sx, frame.left, frame.right), [top, bottom] = between(drag.sy, event.sy, frame.top, frame.bottom)
    const is_wide = right - left >= LEAST_DRAG_PX, is_high = bottom - top >= LEAST_DRAG_PX
    if (event.event_name == "pan") {
      put(area, plot, is_wide ? left : frame.left, is_high ? top : frame.top, is_wide ? right - left : frame.width, is_high ? bottom - top : frame.height,
        `display:${is_wide || is_high ? "block" : "none"};background:#2f7ed822;border:1px solid #2f7ed8;box-sizing:border-box`)
    } else if (event.event_name == "panend") {
      area.remove()
      for (const [range, is_chosen, from, to] of [[plot.x_range, is_wide, drag.x, event.x], [plot.y_range, is_high, drag.y, event.y]]) {
        const [start, end] = between(from, to, ...ends(range))
        if (is_chosen && start < end) range.setv({start, end})
      }
      drag = null
    }
  }
  // An image as large as the window allows, until a click or Escape.
  const enlarge = (image) => {
    const cover = element("div", null, "position:fixed;inset:0;z-index:99996;background:#000c;display:grid;place-content:center;gap:12px;cursor:zoom-out;text-align:center;color:#fff;font:14px system-ui,sans-serif")
    const shown = image.cloneNode()
    shown.removeAttribute("onclick")
    shown.style.cssText = "width:min(92vw,84vh);height:84vh;object-fit:contain;cursor:zoom-out;" + (image.className == "small" ? "image-rendering:pixelated" : "")
    cover.append(shown, element("div", image.alt))
    const close = () => { cover.remove(); removeEventListener("keydown", on_key) }
    const on_key = (event) => { if (event.key == "Escape") close() }
    addEventListener("keydown", on_key)
    cover.onclick = close
    document.body.append(cover)
  }

  const save = (blob, name) => {
    const link = element("a")
    link.href = URL.createObjectURL(blob)
    link.download = name
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10000)
  }
  const view_of = (model) => Bokeh.index.find_one(model)
  const plot_in = (view) => {
    for (const child of view?.children_views() ?? []) {
      if (typeof child.export == "function" && child.model.renderers != null) return child
      const found = plot_in(child)
      if (found != null) return found
    }
    return null
  }

  const STYLE = `
    * { box-sizing: border-box; font: 13px/1.4 system-ui, sans-serif }
    .bk-clearfix { display: none !important }
    .bar { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; color: var(--muted, #667) }
    .bar input, .bar select, button { background: var(--field, #fff); color: var(--text, #123); border: 1px solid var(--line, #ccc); border-radius: 6px; padding: 4px 8px }
    .bar select { max-width: 170px } .bar input[type=search] { min-width: 220px } .bar input[type=range] { padding: 0; width: 110px; accent-color: var(--accent, #2f7ed8) } .bar label { display: flex; gap: 6px; align-items: center }
    button { cursor: pointer }
    .head { position: absolute; left: 0; right: 0; height: 30px; display: flex; gap: 8px; align-items: center; cursor: pointer; border: 0; background: none; padding: 0 2px; color: var(--text, #123); text-align: left }
    .head b { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } .head span { color: var(--muted, #667); font-size: 12px } .head i { font-style: normal; width: 12px; color: var(--muted, #667) }
    .tools { position: fixed; z-index: 10001; display: none; gap: 2px; padding: 2px; border-radius: 7px; background: var(--panel, #fff); border: 1px solid var(--line, #ccc); box-shadow: 0 2px 8px #0002 }
    .tools button { border: 0; background: none; padding: 2px 7px; font-size: 11px; border-radius: 5px } .tools button:hover { background: var(--line, #ddd) }
    .cover { position: fixed; inset: 0; z-index: 9998; background: #0007 } .empty { color: var(--muted, #667); padding: 14px 2px }`

  // The browser's half of a board: its bar, its headings, what is in view, and its settings in the address.
  const board = (control, bar, space) => {
    const bar_view = view_of(bar), space_view = view_of(space)
    if (bar_view == null || space_view == null || bar_view.streamvis_is_board) return
    bar_view.streamvis_is_board = true
    const settings = JSON.parse(control.settings)
    const sheet = () => element("style", STYLE)
    const layer = element("div"), shadow = bar_view.el.shadowRoot ?? bar_view.el
    const tools = element("div"), cover = element("div"), heads = element("div")
    const tell = () => {
      control.settings = JSON.stringify(settings)
      shade()
      const url = new URL(location.href), said = url.searchParams
      const folds = Object.keys(settings.fold).length ? JSON.stringify(settings.fold) : ""
      const plain = {q: settings.q, x: settings.x == "step" ? "" : settings.x, smooth: settings.smooth || "", log: settings.log ? "1" : "",
        size: settings.size == "m" ? "" : settings.size, big: settings.big, fold: folds}
      for (const [name, value] of Object.entries(plain)) { if (value === "") said.delete(name); else said.set(name, value) }
      try { history.replaceState(history.state, "", url) } catch { /* a frame without a history */ }
    }
    let timer = null
    const tell_soon = () => { clearTimeout(timer); timer = setTimeout(tell, 120) }

    const search = Object.assign(element("input"), {type: "search", placeholder: "Search charts", value: settings.q})
    search.oninput = () => { settings.q = search.value; tell_soon() }
    const x = element("select")
    const smooth = Object.assign(element("input"), {type: "range", min: 0, max: 0.999, step: 0.001, value: settings.smooth})
    const smooth_said = element("span", settings.smooth ? String(settings.smooth) : "off", "min-width:34px")
    smooth.oninput = () => { settings.smooth = Number(smooth.value); smooth_said.textContent = settings.smooth ? settings.smooth.toFixed(3) : "off"; tell_soon() }
    const log = Object.assign(element("input"), {type: "checkbox", checked: settings.log})
    log.onchange = () => { settings.log = log.checked; tell() }
    const size = element("select")
    for (const [value, name] of [["s", "Small"], ["m", "Medium"], ["l", "Large"]]) size.append(new Option(name, value))
    size.value = settings.size
    size.onchange = () => { settings.size = size.value; tell() }
    x.onchange = () => { settings.x = x.value; tell() }
    const count = element("span")
    const label = (text, ...parts) => { const made = element("label", text); made.append(...parts); return made }
    const row = element("div")
    row.className = "bar"
    row.append(search, label("x", x), label("Smoothing", smooth, smooth_said), label("Log y", log), label("Size", size), count)
    // In a file they would have no effect.
    const is_file = window.streamvisSnapshot != null
    layer.append(sheet(), ...(is_file ? [] : [row]))
    shadow.append(layer)

    const inner = space_view.el.shadowRoot ?? space_view.el
    const overlay = element("div")
    cover.className = "cover"
    cover.hidden = true
    cover.onclick = () => { settings.big = ""; tell() }
    tools.className = "tools"
    overlay.append(sheet(), heads, cover, tools)
    inner.append(overlay)
    addEventListener("keydown", (event) => { if (event.key == "Escape" && settings.big) { settings.big = ""; tell() } })

    let layout = {heads: [], cards: []}
    // Only behind a card that is there: a link may name one that the run does not have.
    const shade = () => { cover.hidden = !layout.cards.some(({name}) => name == settings.big) }
    const draw = () => {
      layout = {heads: [], cards: [], ...JSON.parse(control.layout)}
      const options = ["step", "time", "elapsed", ...(layout.columns ?? []).filter((name) => !["step", "time", "elapsed"].includes(name))]
      if (x.options.length != options.length) {
        x.replaceChildren(...options.map((name) => new Option(name == "elapsed" ? "time since start" : name.slice(0, 40), name)))
        x.value = settings.x
      }
      count.textContent = layout.total == null ? "" : settings.q ? `${layout.found} of ${layout.total}` : `${layout.total} ${layout.total == 1 ? "panel" : "panels"}`
      shade()
      heads.replaceChildren(...layout.heads.map((head) => {
        const made = element("button")
        made.className = "head"
        made.style.top = `${head.top}px`
        made.setAttribute("aria-expanded", String(!head.folded))
        made.disabled = is_file
        made.append(element("i", head.folded ? "▸" : "▾"), element("b", head.name || "values"), element("span", String(head.count)))
        made.onclick = () => { settings.fold = {...settings.fold, [head.name]: !head.folded}; tell() }
        return made
      }))
      if (layout.total === 0 || (layout.total && !layout.found && !layout.heads.length)) {
        const text = settings.q ? "Nothing is called that." : "This run has sent nothing yet. Its data will appear here."
        heads.append(Object.assign(element("div", text), {className: "empty"}))
      }
    }
    control.properties.layout.change.connect(draw)
    draw()

    // The frame that a card's panel is in.
    const frame_of_card = ({id}) => space.children.find((frame) => frame.elements[0]?.id == id)
    // Small tools over the card where the mouse is.
    let shown_for = null
    const show_tools = (entry, el) => {
      if (shown_for == entry.id && tools.style.display == "flex") return
      shown_for = entry.id
      const name = entry.title.replace(/[^\w.-]+/g, "_").slice(0, 80) || "chart"
      const made = []
      const add = (text, title, act) => { const one = Object.assign(element("button", text), {title}); one.onclick = act; made.push(one) }
      if (!is_file) add(settings.big == entry.name ? "✕" : "⤢", settings.big == entry.name ? "Back to its place" : "Enlarge", () => {
        settings.big = settings.big == entry.name ? "" : entry.name
        tools.style.display = "none"
        shown_for = null
        tell()
      })
      const plot = plot_in(view_of(frame_of_card(entry)))
      if (plot != null) {
        add("↺", "Show all, and follow", () => plot.model.reset.emit())
        for (const type of ["png", "svg"]) add(type.toUpperCase(), `Download as ${type.toUpperCase()}`, async () => save(await plot.export(type).to_blob(), `${name}.${type}`))
      }
      if (entry.series.length && !is_file) {
        const query = new URLSearchParams([...layout.runs.map((run) => ["run", run]), ...entry.series.map((pair) => ["series", JSON.stringify(pair)])])
        add("CSV", "Download all rows as CSV", () => { const link = element("a"); link.href = `../rows.csv?${query}`; link.download = `${name}.csv`; link.click() })
      }
      tools.replaceChildren(...made)
      tools.style.display = "flex"
      const box = el.getBoundingClientRect()
      tools.style.top = `${box.top + 5}px`
      tools.style.left = `${box.right - tools.offsetWidth - 6}px`
    }
    inner.addEventListener("pointermove", (event) => {
      const path = event.composedPath()
      if (path.includes(tools)) return
      for (const entry of layout.cards) {
        const frame = frame_of_card(entry), el = frame && view_of(frame)?.el
        if (el != null && path.includes(el)) return show_tools(entry, el)
      }
      tools.style.display = "none"
    })
    inner.addEventListener("pointerleave", () => { tools.style.display = "none" })

    let pending = false
    const look = () => {
      pending = false
      const box = space_view.el.getBoundingClientRect()
      const view = {top: Math.round(-box.top), bottom: Math.round(innerHeight - box.top), width: Math.round(box.width)}
      const text = JSON.stringify(view)
      if (box.width > 0 && text != control.view) control.view = text
    }
    const look_soon = () => { tools.style.display = "none"; if (!pending) { pending = true; setTimeout(look, 60) } }
    addEventListener("scroll", look_soon, {passive: true, capture: true})
    addEventListener("resize", look_soon)
    new ResizeObserver(look_soon).observe(space_view.el)
    look()
  }

  window.streamvisPanels = {read, mouse, hide, enlarge, board}
}
