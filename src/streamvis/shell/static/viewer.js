// What the shell shows and when it changes: the page's address, the panes that follow from it, a newer run that is offered or shown.
import * as address from "./address.js"
import {ask} from "./api.js"
import {Pane} from "./pane.js"
import {Store} from "./ui.js"

// Runs that start every second, as a sweep's do, do not make a page that flickers.
const CALM_MS = 5000, CLICKED_MS = 300, LEAST_WIDTH = 420, LEAST_HEIGHT = 320

export class Viewer extends Store {
  #timer = null
  #clicked = null
  #arranged = 0

  constructor(path, site) {
    super({path, site, ...address.read(), offer: null, panes: [], left_out: 0, listed: new Map()})
  }

  begin(host) {
    this.host = host
    this.#arrange()
  }

  // Whether the page stays with what was chosen, rather than with the newest run.
  get is_pinned() { return this.runs.length > 0 || this.where != null || (this.group != null && this.page?.many === true) }

  get page() { return this.site.pages.find(({path}) => path == this.path) }

  // Which run is shown where none is chosen: "newest", "oldest" or "pinned", by the address, else by the page's author.
  get follows() { return this.follow ?? this.page?.follow ?? "newest" }

  get view_url() { return address.view_address(this.path, address.page_query()) }

  // What all panes show, as if they were one page.
  get shown() {
    const all = this.panes.map(({shown}) => shown).filter(Boolean)
    if (all.length == 0) return null
    // Runs of one group have one colour on the page.
    const known = ({id}) => this.group == null ? this.listed.get(id) : this.listed.has(id) ? {name: this.listed.get(id).name} : {}
    return {...all[0], runs: all.flatMap(({runs}) => runs ?? []).map((run) => ({...run, ...known(run)}))}
  }

  get shown_colors() { return new Map((this.shown?.runs ?? []).map(({id, color}) => [id, color])) }

  get shown_ids() { return new Set((this.shown?.runs ?? []).map(({id}) => id)) }

  // After a step back or forward in the history.
  read_address() {
    this.set(address.read())
    this.#arrange()
  }

  // Stay with what is shown, or follow again.
  pin(is_pinned) {
    if (is_pinned) return this.show([...this.shown_ids])
    address.change({group: null})
    this.set({group: null})
    this.show([])
  }

  follow_on(follow) {
    if (follow == "pinned") return this.pin(true)
    follow = follow == (this.page?.follow ?? "newest") ? null : follow
    address.change({follow})
    this.set({follow})
    this.pin(false)
  }

  // Shows these runs, or all that fit a filter, also those that come; neither: the newest.
  show(runs, where = null) {
    address.change({run: runs.length > 0 ? runs : null, where}, {as_step: true})
    this.set({runs, where, offer: null})
    clearTimeout(this.#clicked)
    this.#clicked = setTimeout(() => this.#arrange(), CLICKED_MS)
  }

  choose(ids, is_chosen) {
    const others = this.runs.filter((id) => !ids.includes(id))
    this.show(is_chosen ? [...others, ...ids] : others)
  }

  // Names and colours as the list has them: a page learns of a new name later.
  learn(list) {
    const found = list.those(this.shown_ids).map(({run, name, color}) => [run, {name, color}])
    if (JSON.stringify(found) == JSON.stringify([...this.listed])) return
    this.set({listed: new Map(found)})
    for (const pane of this.panes) pane.head()
  }

  // The group, and what its band shows, are in the address: pages that can show several runs draw one thing for each of its values.
  regroup() {
    const {group, stat} = address.read()
    if (group == this.group && stat == this.stat) return
    this.set({group, stat})
    this.#arrange()
  }

  // Shows the runs as of a step; live, where that is null.
  seek(at) {
    if (at === this.at) return
    address.change({at})
    this.set({at})
    this.#follow_at()
  }

  // Each pane loads the newest step that was asked for once it shows the one before.
  #follow_at() {
    for (const pane of this.panes) if (!pane.is_loading && !pane.is_seeking && pane.url != pane.address().href) pane.seek(this.at)
  }

  // The page's script was edited: it may show several runs now, or only one.
  async #learn_page() {
    const was_many = this.page?.many
    try {
      this.site.set({pages: (await ask("pages")).pages})
    } catch { /* as it was */ }
    if (this.page?.many != was_many) this.#arrange()
  }

  // What the page costs; null where it does not say.
  async diagnose() {
    const ask = this.panes[0]?.window?.streamvis?.diagnose
    if (ask == null) return null
    return Promise.race([ask(), new Promise((go) => setTimeout(() => go(null), 5000))])
  }

  show_offered() {
    this.set({offer: null})
    this.panes[0].open()
  }

  #fit() {
    const {clientWidth, clientHeight} = this.host
    return Math.max(1, Math.floor(clientWidth / LEAST_WIDTH)) * Math.max(1, Math.floor(clientHeight / LEAST_HEIGHT))
  }

  // The runs to show one by one: several, on a page that can show only one. Null where one frame shows all.
  async #apart() {
    if (this.runs.length < 2 && this.where == null && this.group == null) return null
    if (this.page == null) await this.site.loaded
    if (this.page == null || this.page.many) return null
    if (this.runs.length > 0 || this.where == null) return this.runs
    const {runs} = await ask("runs", {app: this.app ?? this.page.app, where: this.where, order: "-created", limit: 50})
    return runs.map(({run}) => run)
  }

  async #arrange() {
    const number = ++this.#arranged
    let apart = null
    try { apart = await this.#apart() } catch (error) { this.site.set({trouble: error.message}) }
    if (number != this.#arranged) return
    const keys = apart == null || apart.length < 2 ? [apart?.[0] ?? ""] : apart.slice(0, this.#fit())
    const before = new Map(this.panes.map((pane) => [pane.key, pane]))
    // A pane that is left alone keeps its place, and what is in it is swapped.
    const spare = this.panes.filter(({key}) => !keys.includes(key))
    this.panes = keys.map((key) => before.get(key) ?? spare.shift() ?? this.#made())
    for (const pane of spare) pane.close()
    this.panes.forEach((pane, i) => {
      pane.key = keys[i]
      pane.place(i, keys.length > 1)
      const is_wanted = pane.url == pane.address().href || (keys.length == 1 && this.#shows(pane, this.runs))
      if (!is_wanted) pane.open()
    })
    this.host.style.setProperty("--across", Math.min(keys.length, Math.max(1, Math.floor(this.host.clientWidth / LEAST_WIDTH))))
    this.left_out = apart == null ? 0 : apart.length - keys.length
    this.#consider()
    this.changed()
  }

  // Whether a pane shows just that already: pinning what is shown loads nothing.
  #shows(pane, runs) {
    const shown = pane.shown?.runs?.map(({id}) => id) ?? []
    const its = new URL(pane.url ?? location.href), wanted = pane.address()
    for (const url of [its, wanted]) url.searchParams.delete("run")
    return runs.length > 0 && shown.join() == runs.join() && its.href == wanted.href
  }

  #made() {
    const pane = new Pane(this.host, {on: (kind, data) => this.#heard(pane, kind, data), address: () => {
      const query = address.page_query()
      if (this.page?.many === false) for (const name of ["where", "group"]) query.delete(name)
      if (pane.key) query.set("run", pane.key)
      return address.view_address(this.path, query)
    }})
    return pane
  }

  #heard(pane, kind, data) {
    if (kind == "address" && !pane.key) {
      address.adopt(data.search)
      pane.url = pane.address().href
    }
    if (kind == "edited") this.#learn_page()
    if (kind == "refused" || kind == "sought") this.#follow_at()
    if (kind == "loading") return this.changed()
    if (kind != "shows" && kind != "swapped") return
    pane.head()
    document.title = this.panes[0].title || "Streamvis"
    if (kind == "swapped") this.#follow_at()
    this.#consider()
    this.changed()
  }

  // Whether to show a newer run of the app: at once, soon, or when somebody asks for it.
  #consider() {
    clearTimeout(this.#timer)
    const [pane] = this.panes, {newest, runs} = pane?.shown ?? {}
    if (this.is_pinned || this.panes.length > 1 || newest == null || pane.is_loading) return this.set({offer: null})
    const has_ended = runs.every(({state}) => state != "running")
    if (!has_ended || pane.is_touched || this.follows == "pinned") return this.set({offer: newest})
    const wait = pane.swapped + CALM_MS - performance.now()
    if (wait <= 0) return this.show_offered()
    this.set({offer: newest})
    this.#timer = setTimeout(() => this.#consider(), wait)
  }
}
