// What the modules that draw share: markup, hooks, a store that redraws whoever uses it, and how times and numbers are written.
import {h, render} from "./libraries/preact.js"
import {useEffect, useLayoutEffect, useMemo, useRef, useState} from "./libraries/hooks.js"
import htm from "./libraries/htm.js"

export {render, useEffect, useLayoutEffect, useMemo, useRef, useState}
export const html = htm.bind(h)

export class Store {
  #listeners = new Set()

  constructor(values) { Object.assign(this, values) }

  set(values) {
    if (Object.entries(values).every(([name, value]) => this[name] === value)) return
    Object.assign(this, values)
    this.changed()
  }

  changed() { for (const listener of [...this.#listeners]) listener() }

  listen(listener) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

// Redraws the component whenever the store changes.
export const useStore = (store) => {
  const [, redraw] = useState(0)
  useEffect(() => store.listen(() => redraw((n) => n + 1)), [store])
  return store
}

// Redraws the component every `ms`, for ages that are shown.
export const useClock = (ms) => {
  const [, redraw] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) redraw((n) => n + 1) }, ms)
    return () => clearInterval(timer)
  }, [ms])
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]
export const duration = (seconds) => {
  const s = Math.max(0, Math.round(seconds))
  const at = UNITS.findIndex(([size]) => s >= size)
  if (at < 0) return "0 s"
  const [size, unit] = UNITS[at], [finer, fine] = UNITS[at + 1] ?? [], rest = finer ? Math.floor((s % size) / finer) : 0
  return `${Math.floor(s / size)} ${unit}${rest && s / size < 10 ? ` ${rest} ${fine}` : ""}`
}
export const moment = (seconds) => {
  const then = new Date(seconds * 1000)
  if (Number.isNaN(then.getTime())) return ""
  const two = (n) => String(n).padStart(2, "0")
  const day = `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`
  const time = `${two(then.getHours())}:${two(then.getMinutes())}`
  return then.toDateString() == new Date().toDateString() ? `today ${time}` : `${day} ${time}`
}
export const number = (value) => {
  if (!Number.isFinite(value)) return String(value)
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value)
  const size = Math.abs(value)
  return size >= 1e6 || size < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(5)))
}
export const text = (value) => {
  if (value == null) return ""
  if (typeof value == "number") return number(value)
  return typeof value == "string" ? value : JSON.stringify(value)
}

// What a browser keeps for this site; nothing, where it keeps nothing.
export const kept = {
  get(name) { try { return localStorage.getItem(`streamvis-${name}`) } catch { return null } },
  set(name, value) { try { localStorage.setItem(`streamvis-${name}`, value) } catch { /* for this load only, then */ } },
}
