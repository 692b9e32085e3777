// What the shell shows and when it changes: the page's address, a newer run of the app that is offered or switched to.
import * as address from "./address.js"
import {Pane} from "./pane.js"
import {Store} from "./ui.js"

// Runs that start every second, as a sweep's do, do not make a page that flickers.
const CALM_MS = 5000

export class Viewer extends Store {
  #timer = null

  constructor(path, site) {
    super({path, site, ...address.read(), offer: null, shown: null})
  }

  begin(host) {
    this.pane = new Pane(host, {address: () => this.view_url, on: (kind, data) => this.#heard(kind, data)})
    this.pane.open()
  }

  get is_pinned() { return this.runs.length > 0 }

  get view_url() { return address.view_address(this.path, address.page_query()) }

  // After a step back or forward in the history.
  read_address() {
    this.set(address.read())
    const shown = this.shown?.runs?.map(({id}) => id) ?? []
    if (this.pane.url != this.view_url.href && shown.join() != this.runs.join()) this.pane.open()
  }

  // Stay with the run that is shown, or follow the newest again.
  pin(is_pinned) {
    const shown = this.shown?.runs?.map(({id}) => id) ?? []
    address.change({run: is_pinned ? shown : null}, {as_step: true})
    this.set({runs: is_pinned ? shown : []})
    // The frame goes on showing what it shows: it follows nothing by itself.
    if (is_pinned) this.#consider()
    else this.pane.open()
  }

  show_offered() {
    this.set({offer: null})
    this.pane.open()
  }

  #heard(kind, data) {
    if (kind == "address") return address.adopt(data.search)
    if (kind == "shows" || kind == "swapped") {
      this.shown = this.pane.shown
      document.title = this.pane.title || "Streamvis"
      this.#consider()
      this.changed()
    }
  }

  #consider() {
    clearTimeout(this.#timer)
    const {newest, runs} = this.pane.shown ?? {}
    if (this.is_pinned || newest == null || this.pane.is_loading) return this.set({offer: null})
    const has_ended = runs.every(({state}) => state != "running")
    if (!has_ended || this.pane.is_touched) return this.set({offer: newest})
    const wait = this.pane.swapped + CALM_MS - performance.now()
    if (wait <= 0) return this.show_offered()
    this.set({offer: newest})
    this.#timer = setTimeout(() => this.#consider(), wait)
  }
}
