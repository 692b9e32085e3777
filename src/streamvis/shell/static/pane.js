// A place for one page: the frame that is shown, and beside it, out of sight, the one that takes its place once it has painted. What
// a person set in the old one is carried over (see page/carry.js).
const SHOW_AT_LATEST_MS = 10000, RETRY_MS = 1000, FREQUENT = 5, WITHIN_MS = 20000, SLOW_MS = 3000

const window_of = (frame) => { try { return frame.contentWindow?.document ? frame.contentWindow : null } catch { return null } }

export class Pane {
  #next = null
  #timers = new Set()
  #loads = []
  swapped = -Infinity
  swaps = 0

  // `address()` gives what to load; `on(kind, data)` hears what the shown page says, and "swapped".
  constructor(host, {address, on}) {
    const box = document.createElement("section"), title = document.createElement("h2")
    box.className = "pane"
    box.append(title)
    host.append(box)
    Object.assign(this, {box, heading: title, address, on, frame: null, shown: null, is_touched: false})
    this.hear = (event) => {
      const {streamvis: kind, ...data} = event.data ?? {}
      if (event.origin != location.origin || kind == null) return
      // Clocks differ: ages are by the page server's.
      if (kind == "shows") data.behind = Date.now() / 1000 - data.now
      if (event.source == this.#next?.contentWindow) this.#said_by_next(kind, data)
      else if (event.source == this.frame?.contentWindow) this.#said(kind, data)
    }
    addEventListener("message", this.hear)
  }

  get is_loading() { return this.#next != null }

  // Loads the address, and shows it once it has painted; at once, where nothing is shown.
  open() {
    this.url = this.address().href
    this.#next?.remove()
    this.#clear()
    const frame = document.createElement("iframe")
    frame.title = "Page"
    frame.className = this.frame == null ? "" : "coming"
    frame.src = this.url
    frame.onload = () => this.#loaded(frame)
    this.box.append(frame)
    if (this.frame == null) {
      this.frame = frame
      this.swapped = performance.now()
    } else {
      frame.inert = true
      this.#next = frame
      this.next_shown = null
      this.on("loading", {})
    }
  }

  // The same again, as after a restart. One that would load again and again slows down.
  reload() {
    const now = performance.now()
    this.#loads = [...this.#loads.filter((then) => now - then < WITHIN_MS), now]
    const again = () => {
      if (document.hidden) document.addEventListener("visibilitychange", again, {once: true})
      else this.open()
    }
    this.#later(again, this.#loads.length < FREQUENT ? 0 : SLOW_MS)
  }

  close() {
    removeEventListener("message", this.hear)
    this.#clear()
    this.box.remove()
  }

  // Its place among others; with a heading, where there are others.
  place(nth, has_heading) {
    this.box.style.order = nth
    this.box.classList.toggle("headed", has_heading)
    this.head()
  }

  head() {
    const [run] = this.shown?.runs ?? []
    this.heading.textContent = run?.name ?? ""
    this.heading.style.setProperty("--its", run?.color || "var(--muted)")
  }

  get title() { return (this.frame && window_of(this.frame)?.document.title) || "" }

  #later(go, ms) {
    const timer = setTimeout(() => { this.#timers.delete(timer); go() }, ms)
    this.#timers.add(timer)
  }

  #clear() {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #loaded(frame) {
    // A browser's own page about a server that does not answer belongs to nobody's origin.
    if (window_of(frame) == null) return this.#later(() => this.open(), RETRY_MS)
    if (frame == this.#next) this.#later(() => { if (frame == this.#next) this.#swap() }, SHOW_AT_LATEST_MS)
  }

  #said_by_next(kind, data) {
    if (kind == "shows") this.next_shown = data
    else if (kind == "painted") this.#swap()
    else if (kind == "reload") this.reload()
  }

  #said(kind, data) {
    if (kind == "shows") this.shown = data
    else if (kind == "touched") this.is_touched = true
    else if (kind == "reload") return this.reload()
    this.on(kind, data)
  }

  #swap() {
    const old = this.frame, frame = this.#next
    this.#next = null
    this.#clear()
    try {
      const carried = window_of(old)?.streamvis?.carry?.()
      if (carried != null) window_of(frame)?.streamvis?.restore?.(carried)
    } catch (error) {
      console.warn("The view could not be carried over", error)
    }
    this.frame = frame
    const show = () => {
      const had_focus = document.activeElement == old
      frame.classList.remove("coming")
      frame.inert = false
      old.remove()
      if (had_focus) frame.focus()
      Object.assign(this, {swapped: performance.now(), swaps: this.swaps + 1, shown: this.next_shown ?? this.shown, is_touched: false})
      this.on("swapped", {})
    }
    // Two frames, so that what was carried over is painted. A hidden tab paints nothing.
    if (document.hidden) show()
    else requestAnimationFrame(() => requestAnimationFrame(show))
  }
}
