// The alerts of the runs that are shown: a mark in the bar while there are any, and the list that it opens.
import {ask} from "./api.js"
import {Icon} from "./icons.js"
import {html, kept, moment, Store, useEffect, useRef, useState, useStore} from "./ui.js"

const LOOK_MS = 3000, MOST_RUNS = 20, MOST_SHOWN = 200
const LEVELS = ["info", "warning", "error"]

class Alerts extends Store {
  #known = new Map()
  #is_looking = false

  constructor() { super({all: []}) }

  // Asks for what is new of these runs, where their producers were heard of since.
  async look(runs) {
    if (this.#is_looking || document.hidden) return
    this.#is_looking = true
    const shown = runs.slice(0, MOST_RUNS)
    for (const {id, heard} of shown) {
      const its = this.#known.get(id) ?? {heard: null, cursor: null, alerts: []}
      this.#known.set(id, its)
      for (let is_more = its.heard !== heard; is_more;) {
        try {
          const {cursor, more, restart, alerts} = await ask("alerts", {run: id, ...(its.cursor && {after: its.cursor})})
          Object.assign(its, {heard, cursor, alerts: [...(restart ? [] : its.alerts), ...alerts].slice(-MOST_SHOWN)})
          is_more = more
        } catch { is_more = false /* asked again with the next news */ }
      }
    }
    const all = shown.flatMap(({id, name}) => this.#known.get(id).alerts.map((alert) => ({...alert, run: id, name}))).sort((a, b) => b.time - a.time)
    this.#is_looking = false
    if (all.map(({id}) => id).join() != this.all.map(({id}) => id).join()) this.set({all})
  }
}

// Of each run the time of the newest alert that was seen in this browser.
const seen_until = (run) => Number(kept.get(`alerts-${run}`) ?? 0)
const is_new = ({run, time}) => time > seen_until(run)

export const AlertMark = ({runs}) => {
  const store = useRef(null), now = useRef(runs), [open_at, open] = useState(null), button = useRef(null)
  store.current ??= new Alerts()
  now.current = runs
  const {all} = useStore(store.current)
  useEffect(() => {
    const look = () => store.current.look(now.current), timer = setInterval(look, LOOK_MS)
    look()
    return () => clearInterval(timer)
  }, [runs.map(({id}) => id).join()])
  if (all.length == 0) return null
  const fresh = all.filter(is_new), level = LEVELS[Math.max(0, ...fresh.map(({level}) => LEVELS.indexOf(level)))]
  const toggle = () => {
    if (open_at != null) return open(null)
    const {right, bottom} = button.current.getBoundingClientRect()
    open({right: Math.max(4, innerWidth - right), top: bottom + 4, fresh: new Set(fresh.map(({id}) => id))})
    for (const {run, time} of fresh) kept.set(`alerts-${run}`, Math.max(time, seen_until(run)))
  }
  const told = `${all.length} alert${all.length == 1 ? "" : "s"}${fresh.length ? `, ${fresh.length} new` : ""}`
  return html`<button class="icon alerts ${fresh.length ? `is-${level}` : ""}" ref=${button} onClick=${toggle} aria-expanded=${open_at != null} title=${told} aria-label=${told}>
      <${Icon} name="bell" />${fresh.length > 0 && html`<span class="count">${fresh.length}</span>`}</button>
    ${open_at && html`<${List} all=${all} at=${open_at} has_many=${runs.length > 1} close=${() => open(null)} button=${button} />`}`
}

const List = ({all, at, has_many, close, button}) => {
  const box = useRef(null)
  useEffect(() => {
    box.current.focus()
    const outside = ({target}) => { if (!box.current?.contains(target) && !button.current?.contains(target)) close() }
    addEventListener("pointerdown", outside, true)
    addEventListener("blur", close)
    return () => {
      removeEventListener("pointerdown", outside, true)
      removeEventListener("blur", close)
    }
  }, [])
  return html`<div class="menu alert-list" role="dialog" aria-label="Alerts" tabindex="-1" ref=${box} style=${{right: `${at.right}px`, top: `${at.top}px`}}
    onKeyDown=${({key}) => { if (key == "Escape") { close(); button.current?.focus() } }}>${all.map((alert) => html`
    <article key=${alert.id} class="is-${alert.level} ${at.fresh.has(alert.id) ? "fresh" : ""}"><h3>${alert.title}</h3>${alert.text && html`<p>${alert.text}</p>`}
      <footer class="muted">${alert.level} · ${has_many ? `${alert.name} · ` : ""}step ${alert.step.toLocaleString("en-US")} · ${moment(alert.time)}</footer></article>`)}</div>`
}
