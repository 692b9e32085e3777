// The list of runs as far as it is loaded: what was asked for, in which order, and the pieces that came. Follows changes by a long poll.
import * as address from "./address.js"
import {ask, follow} from "./api.js"
import {kept, Store} from "./ui.js"

const PIECE = 200, MOST = 10000, TYPED_MS = 250, CALM_MS = 2000, REFRESH_MS = 10000
const MOST_SHOWN_PARTS = 6

// Text with signs of the filter language is a filter; anything else is words, all of which must occur.
const SIGNS = /[<>=()[\]"']/, WORDS = /\b(and|or|not|in)\b/
const asked_as = (text) => SIGNS.test(text) || WORDS.test(text) ? "where" : "search"

export class RunList extends Store {
  #stop = null
  #typed = null
  #again = null
  #number = 0
  #loaded_at = 0
  #seen = PIECE

  constructor(app, {is_shown = true} = {}) {
    super({is_shown, app: null, rows: [], matching: 0, after: null, more: false, is_loading: false, is_known: false, error: null, trouble: null,
      names: {config: [], summaries: [], tags: []}, find: "", order: "-created", columns: null, archived: "false", group: null, folded: new Set()})
    this.show_app(app)
    this.timer = setInterval(() => this.#refresh_running(), REFRESH_MS)
  }

  // Turns to an app; null is all of them.
  show_app(app) {
    if (this.#stop != null && app == this.app) return
    this.#stop?.()
    const {list, group} = address.read()
    let stored = {}
    try { stored = JSON.parse(kept.get(`list:${app ?? ""}`) ?? "{}") } catch { /* not ours */ }
    const columns = list.columns != null ? list.columns.split("\n").filter(Boolean) : stored.columns ?? null
    Object.assign(this, {app, rows: [], matching: 0, after: null, is_known: false, find: list.find ?? "", columns, group,
      order: list.order ?? stored.order ?? "-created", archived: list.archived ?? "false", folded: new Set()})
    if (this.is_shown) this.#load_all()
    this.#stop = follow({app, heard: () => this.#changed_elsewhere(), lost: (error) => this.set({trouble: error?.message ?? null})})
    this.changed()
  }

  close() {
    this.#stop?.()
    clearInterval(this.timer)
  }

  // A list that nobody looks at loads nothing.
  look(is_shown) {
    const was_shown = this.is_shown
    this.is_shown = is_shown
    if (is_shown && !was_shown) this.#load_all()
  }

  #load_all() {
    this.#load_names()
    this.reload()
  }

  // What is shown besides the columns that every list has: what was chosen, else the parts of configs in which runs differ.
  get shown_columns() {
    const differing = this.names.config.filter(({differs}) => differs).map(({name}) => name)
    return this.columns ?? differing.slice(0, MOST_SHOWN_PARTS)
  }

  // How the list is arranged: kept in the address, and for the app.
  arrange(values) {
    Object.assign(this, values)
    const {order, columns, archived, find, group} = this
    address.change_list({order: order == "-created" ? null : order, columns: columns?.join("\n") ?? null,
      archived: archived == "false" ? null : archived, find: find || null})
    address.change({group})
    kept.set(`list:${this.app ?? ""}`, JSON.stringify({order, columns}))
    this.changed()
    this.reload()
  }

  // While somebody types, only what stands there at last is asked for.
  type(text) {
    this.find = text
    this.changed()
    clearTimeout(this.#typed)
    this.#typed = setTimeout(() => this.arrange({find: text}), TYPED_MS)
  }

  // Loads from the start, as much as can be seen. What is shown stays until the answer is there.
  async reload() {
    clearTimeout(this.#again)
    this.#again = null
    await this.#load(null, Math.min(MOST, Math.max(PIECE, this.#seen + PIECE)))
  }

  // Rows up to this one can be seen.
  async see(last) {
    this.#seen = last
    while (this.more && this.rows.length < this.#seen + 50 && !this.is_loading) {
      if (!await this.#load(this.after, Math.min(MOST, Math.max(PIECE, this.#seen + PIECE - this.rows.length)))) return
    }
  }

  async #load(after, limit) {
    const number = ++this.#number, text = this.find.trim(), kind = text ? asked_as(text) : null
    const query = (kind) => ({app: this.app, order: this.group ?? this.order, archived: this.archived, limit, after, column: this.asked_columns,
      ...(kind ? {[kind]: text} : {})})
    this.set({is_loading: true})
    try {
      let answer
      try {
        answer = await ask("runs", query(kind))
      } catch (error) {
        // Words such as "not" make no filter where there are no other signs of one.
        if (kind != "where" || error.position == null || SIGNS.test(text)) throw error
        answer = await ask("runs", query("search"))
      }
      if (number != this.#number) return false
      this.#loaded_at = performance.now()
      this.set({rows: after == null ? answer.runs : [...this.rows, ...answer.runs], matching: answer.matching ?? answer.runs.length,
        after: answer.after ?? null, more: answer.more && answer.after != null, error: null, trouble: null, is_known: true, is_loading: false})
      return true
    } catch (error) {
      if (number != this.#number) return false
      this.set({is_loading: false, ...(error.position != null ? {error} : {trouble: error.message})})
      if (error.position == null) this.#again ??= setTimeout(() => this.reload(), CALM_MS)
      return false
    }
  }

  // The filter that stands in the search box; null where there are words, nothing, or a fault.
  get filter() {
    const text = this.find.trim()
    return text && this.error == null && asked_as(text) == "where" ? text : null
  }

  get asked_columns() { return [...new Set([...this.shown_columns, ...(this.group ? [this.group] : [])])] }

  async #load_names() {
    const {app} = this
    try {
      const names = await ask("names", {app})
      if (app != this.app) return
      const before = this.asked_columns.join("\n")
      this.set({names})
      if (this.asked_columns.join("\n") != before) this.reload()
    } catch { /* the list itself says what is wrong */ }
  }

  #changed_elsewhere() {
    if (this.#again != null || !this.is_shown) return
    const wait = this.is_known ? Math.max(0, this.#loaded_at + CALM_MS - performance.now()) : CALM_MS
    this.#again = setTimeout(() => this.#load_all(), wait)
  }

  // Steps and summaries of runs that go on change all the time, and the list of runs does not. Of all apps, only new runs are told.
  #refresh_running() {
    const may_differ = this.app == null || this.rows.some(({state}) => state == "running")
    if (!document.hidden && this.is_shown && this.#again == null && may_differ) this.reload()
  }

  // Puts what a change answered with into the rows, at once.
  take(runs) {
    const changed = new Map(runs.map((run) => [run.run, run]))
    this.set({rows: this.rows.map((row) => changed.has(row.run) ? {...row, ...changed.get(row.run)} : row)})
  }

  drop(ids) {
    const gone = new Set(ids), rows = this.rows.filter(({run}) => !gone.has(run))
    this.set({rows, matching: this.matching - (this.rows.length - rows.length)})
  }
}

// The rows as they are drawn: where runs are grouped, a head before each group, whose runs a click folds away.
export const items_of = (list) => {
  if (list.group == null) return list.rows.map((run) => ({run}))
  const items = []
  let head = null
  for (const run of list.rows) {
    const value = run.columns?.[list.group] ?? null, key = JSON.stringify(value)
    if (head?.key != key) items.push(head = {key, value, runs: [], is_folded: list.folded.has(key)})
    head.runs.push(run)
    if (!head.is_folded) items.push({run})
  }
  return items
}
