// The list of runs as far as it is loaded: what was asked for, in which order, and the pieces that came. Follows changes by a long poll.
// `rows` has holes where nothing is loaded: of a long list only what was looked at is. A list in groups is loaded from its start.
import * as address from "./address.js"
import {ask, follow} from "./api.js"
import {kept, Store} from "./ui.js"

const PIECE = 200, MARGIN = 100, MOST = 10000, TYPED_MS = 250, CALM_MS = 2000, REFRESH_MS = 10000
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
  #seen = [0, PIECE]

  constructor(app, {is_shown = true} = {}) {
    super({is_shown, app: null, rows: [], known: new Map(), matching: 0, is_loading: false, is_known: false, error: null, trouble: null,
      names: {config: [], summaries: [], tags: []}, find: "", order: "-created", columns: null, archived: "false", group: null, stat: null, folded: new Set()})
    this.show_app(app)
    this.timer = setInterval(() => this.#refresh_running(), REFRESH_MS)
  }

  // Turns to an app; null is all of them.
  show_app(app) {
    if (this.#stop != null && app == this.app) return
    this.#stop?.()
    const {list, group, stat} = address.read()
    let stored = {}
    try { stored = JSON.parse(kept.get(`list:${app ?? ""}`) ?? "{}") } catch { /* not ours */ }
    const columns = list.columns != null ? list.columns.split("\n").filter(Boolean) : stored.columns ?? null
    Object.assign(this, {app, rows: [], known: new Map(), matching: 0, is_known: false, find: list.find ?? "", columns, group, stat,
      order: list.order ?? stored.order ?? "-created", archived: list.archived ?? "false", folded: new Set()})
    this.#seen = [0, PIECE]
    if (this.is_shown) this.#load_all()
    this.#stop = follow({app, heard: () => this.#changed_elsewhere(), lost: (error) => this.set({trouble: error?.message ?? null})})
    this.changed()
  }

  close() {
    this.#stop?.()
    clearInterval(this.timer)
  }

  // A list that no one looks at loads nothing.
  look(is_shown) {
    const was_shown = this.is_shown
    this.is_shown = is_shown
    if (is_shown && !was_shown) this.#load_all()
  }

  #load_all() {
    this.#load_names(this.reload())
  }

  // What is shown in addition to the columns of every list: what was chosen, else the parts of configs in which runs differ.
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
    address.change({group, stat: this.group == null || this.stat == "std" ? null : this.stat})
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

  // Reloads what can be seen, and drops the rest. What is shown stays until the answer is there.
  async reload() {
    clearTimeout(this.#again)
    this.#again = null
    const [first, last] = this.#wanted
    await this.#load(first, last, true)
  }

  // The rows from `first` to `last` can be seen.
  async see(first, last) {
    this.#seen = [first, last]
    while (!this.is_loading && this.is_known) {
      const [begin, end] = this.#wanted
      let from = begin
      while (from < end && this.rows[from] != null) from++
      if (from >= Math.min(end, this.matching) || !await this.#load(from, Math.max(end, from + PIECE / 2), false)) return
    }
  }

  // The range of rows to have: some around those that can be seen, in groups all before them too.
  get #wanted() {
    const [first, last] = this.#seen
    return [this.group != null ? 0 : Math.max(0, first - MARGIN), last + MARGIN]
  }

  async #load(offset, end, is_anew) {
    const number = ++this.#number, text = this.find.trim(), kind = text ? asked_as(text) : null, limit = Math.min(MOST, end - offset)
    const query = (kind) => ({app: this.app, order: this.group ?? this.order, archived: this.archived, limit, offset, column: this.asked_columns,
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
      const rows = is_anew ? [] : this.rows.slice()
      answer.runs.forEach((run, i) => {
        rows[offset + i] = run
        this.known.set(run.run, run)
      })
      this.set({rows, matching: answer.matching, error: null, trouble: null, is_known: true, is_loading: false})
      // A list that has become shorter than where it was looked at.
      if (is_anew && answer.runs.length == 0 && answer.matching > 0 && offset > 0) {
        this.#seen = [0, PIECE]
        return this.reload()
      }
      return answer.runs.length > 0
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

  // Rows that are on their way, `loading`, are shown before they are asked for again with more columns.
  async #load_names(loading) {
    const {app} = this
    try {
      const names = await ask("names", {app})
      if (app != this.app) return
      const before = this.asked_columns.join("\n")
      this.set({names})
      if (this.asked_columns.join("\n") == before) return
      await loading
      if (app == this.app) this.reload()
    } catch { /* the list itself says what is wrong */ }
  }

  #changed_elsewhere() {
    if (this.#again != null || !this.is_shown) return
    const wait = this.is_known ? Math.max(0, this.#loaded_at + CALM_MS - performance.now()) : CALM_MS
    this.#again = setTimeout(() => this.#load_all(), wait)
  }

  // Steps and summaries of runs that continue change all the time, and the list of runs does not.
  #refresh_running() {
    const may_differ = this.rows.some(({state}) => state == "running")
    if (!document.hidden && this.is_shown && this.#again == null && may_differ) this.reload()
  }

  // Those of the runs with these ids that were ever seen here.
  those(ids) { return [...ids].map((id) => this.known.get(id)).filter(Boolean) }

  // Puts what a change answered with into the rows, at once.
  take(runs) {
    for (const run of runs) this.known.set(run.run, {...this.known.get(run.run), ...run})
    this.set({rows: this.rows.map((row) => this.known.get(row.run) ?? row)})
  }

  drop(ids) {
    const gone = new Set(ids), first = this.rows.findIndex((row) => row != null), begin = this.rows.slice(0, Math.max(0, first))
    const rows = begin.concat(this.rows.slice(begin.length).filter(({run}) => !gone.has(run)))
    for (const id of ids) this.known.delete(id)
    this.set({rows, matching: Math.max(0, this.matching - gone.size)})
  }
}

// The rows as they are drawn: where runs are grouped, a head before each group, whose runs a click folds away.
export const items_of = (list) => {
  if (list.group == null) return list.rows.map((run) => ({run}))  // with the same holes
  const items = []
  let head = null
  list.rows.forEach((run) => {
    const value = run.columns?.[list.group] ?? null, key = JSON.stringify(value)
    if (head?.key != key) items.push(head = {key, value, runs: [], is_folded: list.folded.has(key)})
    head.runs.push(run)
    if (!head.is_folded) items.push({run})
  })
  return items
}
