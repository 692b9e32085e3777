// A place for one page: the frame that is shown, and beside it, out of sight, the one that takes its place once it has painted. What
// a person set in the old one is carried over (see carry.js). A frame loads BokehJS while the page server makes the page, and
// becomes that page (see warm.html). Where pages were swapped before, one waits that has BokehJS already.
import {address_of} from "./api.js"

const SHOW_AT_LATEST_MS = 10000, PAINTED_AT_LATEST_MS = 30000
const WARM_AFTER_MS = 200, RETRY_MS = 1000, MOST_TRIES = 5, FREQUENT = 5, WITHIN_MS = 20000, SLOW_MS = 3000

const window_of = (frame) => { try { return frame.contentWindow?.document ? frame.contentWindow : null } catch { return null } }

const BOKEH = JSON.parse(document.documentElement.dataset.bokeh).map((src) => new URL(src, location.href).href)

export class Pane {
  #next = null
  #warm = null
  #timers = new Set()
  #loads = []
  #is_trial = false
  #coming = null
  #is_cold = false
  swapped = -Infinity
  swaps = 0

  // `address()` gives what to load; `on(kind, data)` hears what the shown page says, and "swapped".
  constructor(host, {address, on}) {
    const box = document.createElement("section"), title = document.createElement("h2")
    box.className = "pane"
    box.append(title)
    host.append(box)
    Object.assign(this, {box, heading: title, address, on, frame: null, shown: null, is_touched: false, has_failed: false, is_seeking: false})
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

  // Loads the address, and shows it once it has painted; at once, where nothing is shown. A trial that fails is not shown: the page that
  // is there stays, and says why.
  open({is_trial = false} = {}) {
    this.#is_trial = is_trial
    this.is_seeking = false
    this.url = this.address().href
    this.#drop_next()
    this.#clear()
    const {frame, bokeh} = this.#warm ?? this.#made_warm()
    this.#warm = null
    this.#fill(frame, bokeh)
    if (this.frame == null) {
      frame.inert = false
      this.frame = frame
      this.swapped = performance.now()
    } else {
      this.#next = frame
      this.next_shown = null
      this.next_failed = false
      this.#rest(true)
      this.on("loading", {})
    }
  }

  // What was to take the shown page's place is not wanted any more. The page that was opened last is that one.
  #drop_next() {
    if (this.#next == null) return
    this.#next.remove()
    this.#coming.abort()
    this.#next = null
  }

  // A frame that loads BokehJS, out of sight.
  #made_warm() {
    const frame = document.createElement("iframe")
    frame.title = "Page"
    frame.className = this.frame == null ? "" : "coming"
    frame.style.visibility = "hidden"
    frame.inert = true
    const bokeh = new Promise((done, fail) => {
      frame.onload = () => { try { window_of(frame).streamvisWarm.load(BOKEH).then(done, fail) } catch (error) { fail(error) } }
    })
    bokeh.catch(() => {}) // whoever fills it hears of it
    frame.src = address_of("/shell/static/warm.html")
    this.box.append(frame)
    return {frame, bokeh}
  }

  // Has BokehJS ready for the next page; not beside other pages, of which there may be many.
  #keep_warm() {
    const is_alone = !this.box.classList.contains("headed")
    if (!this.#is_cold && this.#warm == null && this.#next == null && !document.hidden && is_alone) this.#warm = this.#made_warm()
  }

  // Makes a frame the page at the address; where it cannot become that, it loads it as any other frame.
  async #fill(frame, bokeh, tries = 1) {
    const {url} = this, {signal} = this.#coming = new AbortController()
    let answer = null, html = null
    try {
      const {clientWidth, clientHeight} = this.box
      // So that the page can be made for its place.
      answer = this.#is_cold ? null : await fetch(url, {signal, headers: {"Streamvis-Frame": `${clientWidth}x${clientHeight}`}})
    } catch {
      // The page server is away, perhaps for a moment. If it stays away, the browser says in the frame what is wrong.
      if (tries < MOST_TRIES) return this.#later(() => { if (frame.isConnected) this.#fill(frame, bokeh, tries + 1) }, RETRY_MS)
    }
    try {
      await bokeh
      html = answer?.ok && !answer.redirected ? await answer.text() : null
    } catch { /* what the browser says of it stands in the frame then */ }
    if (!frame.isConnected) return
    frame.style.visibility = ""
    frame.onload = () => this.#loaded(frame)
    const is_made = html != null && window_of(frame).streamvisWarm.become(url, html)
    // A page that needs other scripts than BokehJS will need them the next time too: it is then loaded once, not twice.
    this.#is_cold ||= html != null && !is_made
    if (!is_made) frame.src = url
  }

  // Shows the same page at the step that its address says now: in place, where it can, else by loading it.
  seek(at) {
    const without = (href) => { const url = new URL(href); url.searchParams.delete("at"); return url.href }
    const {href} = this.address(), its = this.frame && window_of(this.frame)
    if (this.url == null || without(this.url) != without(href) || !its?.streamvis?.seek?.(at)) return this.open()
    this.is_seeking = true
    this.url = href
    this.#later(() => { if (this.is_seeking) this.open() }, SHOW_AT_LATEST_MS)
  }

  // The same again, as after a restart. One that would reload repeatedly slows down.
  reload(options = {}) {
    const now = performance.now()
    this.#loads = [...this.#loads.filter((then) => now - then < WITHIN_MS), now]
    this.#later(() => this.#when_seen(options), this.#loads.length < FREQUENT ? 0 : SLOW_MS)
  }

  // The same page in its new version: files of it were saved.
  try_edited() { this.#when_seen({is_trial: true}) }

  #when_seen(options) {
    this.#is_cold = false // its new version may need no other scripts
    if (document.hidden) document.addEventListener("visibilitychange", () => this.#when_seen(options), {once: true})
    else this.open(options)
  }

  close() {
    removeEventListener("message", this.hear)
    this.#clear()
    this.#coming?.abort()
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

  get window() { return this.frame && window_of(this.frame) }

  get title() { return (this.frame && window_of(this.frame)?.document.title) || "" }

  // Whether the page that is shown waits with its updates.
  #rest(is_resting) { window_of(this.frame)?.streamvis?.rest?.(is_resting) }

  #later(go, ms) {
    const timer = setTimeout(() => { this.#timers.delete(timer); go() }, ms)
    this.#timers.add(timer)
  }

  #clear() {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #loaded(frame) {
    // A browser's own page about a server that does not answer belongs to no one's origin.
    if (window_of(frame) == null) return this.#later(() => this.open(), RETRY_MS)
    const is_late = () => frame == this.#next && (this.next_shown != null || !this.#is_trial)
    // A page of Bokeh says when it has painted, however slow the machine is; what else came instead of a page does not.
    const at_latest = window_of(frame).Bokeh == null ? SHOW_AT_LATEST_MS : PAINTED_AT_LATEST_MS
    if (frame == this.#next) this.#later(() => { if (is_late()) this.#swap() }, at_latest)
  }

  #said_by_next(kind, data) {
    if (kind == "shows") this.next_shown = data
    else if (kind == "failed") this.next_failed = true
    else if (kind == "painted") this.#painted(data.failed)
    else if (kind == "reload") this.reload({is_trial: this.#is_trial})
  }

  #said(kind, data) {
    if (kind == "shows") this.shown = data
    else if (kind == "touched") this.is_touched = true
    else if (kind == "sought") return this.#sought(data.is_shown)
    else if (kind == "failed") this.has_failed = true
    else if (kind == "edited") this.try_edited()
    else if (kind == "reload") return this.reload()
    this.on(kind, data)
  }

  #sought(is_shown) {
    if (!this.is_seeking) return
    this.is_seeking = false
    this.#clear()
    if (is_shown) this.on("sought", {})
    else this.open()
  }

  // An older version that works is worth more than a new one that does not; of two that do not, the new one is.
  #painted(failed) {
    const show_over = window_of(this.frame)?.streamvis?.show_over
    if (!this.#is_trial || failed.length == 0 || this.has_failed || show_over == null) return this.#swap()
    this.#next.remove()
    this.#next = null
    this.#clear()
    this.#rest(false)
    show_over(failed)
    this.on("refused", {})
  }

  #swap() {
    const old = this.frame, frame = this.#next
    this.#next = null
    this.#clear()
    try {
      const carried = window_of(old)?.streamvis?.carry?.()
      if (carried != null) window_of(frame)?.streamvis?.restore?.(carried)
    } catch (error) {
      console.warn("The view could not be restored", error)
    }
    this.frame = frame
    const show = () => {
      const had_focus = document.activeElement == old
      frame.classList.remove("coming")
      frame.inert = false
      old.remove()
      if (had_focus) frame.focus()
      Object.assign(this, {swapped: performance.now(), swaps: this.swaps + 1, shown: this.next_shown ?? this.shown,
        is_touched: false, has_failed: this.next_failed})
      this.#later(() => this.#keep_warm(), WARM_AFTER_MS)
      this.on("swapped", {})
    }
    // Two frames, so that what was carried over is painted. A hidden tab paints nothing.
    if (document.hidden) show()
    else requestAnimationFrame(() => requestAnimationFrame(show))
  }
}
