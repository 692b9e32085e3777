// What can be done to runs, one or several: names, tags, notes, colours, archive, end, delete. And what is said of it, with a way back.
import {change} from "./api.js"
import {html, Store, useEffect, useLayoutEffect, useRef, useStore} from "./ui.js"

const UNDO_MS = 60000, SAID_MS = 6000
const COLORS = "#3f90da #ffa90e #d63a20 #9c5bd0 #94a4a2 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split(" ")

export const toasts = new Store({all: []})

export const say = (text, {undo = null, is_error = false} = {}) => {
  const toast = {text, undo, is_error, id: Math.random()}
  toasts.set({all: [...toasts.all, toast].slice(-4)})
  // Not by the endpoint's clock, which may differ from this one.
  setTimeout(() => leave(toast), undo ? UNDO_MS : SAID_MS)
}
const leave = (toast) => toasts.set({all: toasts.all.filter((other) => other != toast)})

const attempt = async (go) => {
  try { return await go() } catch (error) { say(error.message, {is_error: true}) }
}
const several = (runs) => runs.length == 1 ? runs[0].name : `${runs.length} runs`
const ids_of = (runs) => runs.map(({run}) => run)

export class Actions {
  constructor(list) { this.list = list }

  async patch(runs, what) {
    const changed = await attempt(() => change("runs", {runs: ids_of(runs), ...what}, "PATCH"))
    if (changed != null) this.list.take(changed.runs)
    return changed
  }

  rename(run, name) { return this.patch([run], {set: {name}}) }

  async archive(runs, archived) {
    if (await this.patch(runs, {set: {archived}}) == null) return
    const show = this.list.archived
    if (show != "any") this.list.drop(ids_of(runs))
    say(`${archived ? "Archived" : "No longer archived"}: ${several(runs)}.`, {undo: async () => {
      await this.patch(runs, {set: {archived: !archived}})
      this.list.reload()
    }})
  }

  async end(runs) {
    if (await attempt(() => change("finish", {runs: ids_of(runs), state: "interrupted"})) == null) return
    say(`Ended as interrupted: ${several(runs)}.`)
    this.list.reload()
  }

  async remove(runs) {
    if (await attempt(() => change("delete", {runs: ids_of(runs)})) == null) return
    this.list.drop(ids_of(runs))
    const steps = runs.reduce((sum, {last_step}) => sum + (last_step == null ? 0 : last_step + 1), 0)
    say(`Deleted ${several(runs)}: all rows and values of ${steps.toLocaleString("en-US")} steps, config, tags and note.`, {
      undo: async () => {
        if (await attempt(() => change("restore", {runs: ids_of(runs)})) == null) return
        say(`Restored ${several(runs)}.`)
        this.list.reload()
      },
    })
  }
}

export const Toasts = () => {
  useStore(toasts)
  return html`<div class="toasts" aria-live="polite">${toasts.all.map((toast) => html`
    <div class="toast ${toast.is_error ? "trouble" : ""}" role=${toast.is_error ? "alert" : "status"} key=${toast.id}>${toast.text}
      ${toast.undo && html`<button onClick=${() => { leave(toast); toast.undo() }}>Undo</button>`}
      <button class="icon" aria-label="Dismiss" onClick=${() => leave(toast)}>×</button></div>`)}</div>`
}

// A form over everything: tags or a note, of one run or several.
export const Form = ({asked, close, actions}) => {
  const dialog = useRef(null), field = useRef(null)
  useLayoutEffect(() => { dialog.current.showModal(); field.current?.focus() }, [])
  const {runs, what} = asked, is_one = runs.length == 1
  const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean)
  const save = (event) => {
    event.preventDefault()
    const form = new FormData(event.target)
    if (what == "note") actions.patch(runs, {set: {note: form.get("note")}})
    else if (is_one) actions.patch(runs, {set: {tags: words(form.get("tags"))}})
    else actions.patch(runs, {add_tags: words(form.get("add")), remove_tags: words(form.get("remove"))})
    close()
  }
  const input = (name, label, value) => html`<label>${label}<input name=${name} defaultValue=${value} ref=${name == "remove" ? null : field} /></label>`
  return html`<dialog ref=${dialog} onClose=${close} aria-label=${what == "note" ? "Note" : "Tags"}><form onSubmit=${save}>
    <h2>${what == "note" ? "Note" : "Tags"} of ${several(runs)}</h2>
    ${what == "note" && html`<textarea name="note" rows="5" cols="50" aria-label="Note" ref=${field} defaultValue=${is_one ? runs[0].note : ""}></textarea>`}
    ${what == "tags" && is_one && input("tags", "Tags, with commas between", (runs[0].tags ?? []).join(", "))}
    ${what == "tags" && !is_one && html`${input("add", "Add", "")}${input("remove", "Remove", "")}`}
    <p class="buttons"><button type="button" onClick=${close}>Cancel</button><button class="main">Save</button></p>
  </form></dialog>`
}

const items_for = (runs, actions, ask) => [
  ...(runs.length == 1 ? [["Rename", () => ask("name")]] : []),
  [runs.length == 1 ? "Tags …" : "Add or remove tags …", () => ask("tags")],
  ["Note …", () => ask("note")],
  runs.every(({archived}) => archived) ? ["Unarchive", () => actions.archive(runs, false)] : ["Archive", () => actions.archive(runs, true)],
  ...(runs.every(({state}) => state == "vanished") ? [["End", () => actions.end(runs)]] : []),
  ["Delete", () => actions.remove(runs)],
]

// The menu of a run, or of several that are chosen.
export const Menu = ({asked, close, actions, ask}) => {
  const box = useRef(null), {runs, x, y} = asked
  useLayoutEffect(() => {
    const {offsetWidth: width, offsetHeight: height} = box.current
    Object.assign(box.current.style, {left: `${Math.max(4, Math.min(x, innerWidth - width - 4))}px`, top: `${Math.max(4, Math.min(y, innerHeight - height - 4))}px`})
    box.current.querySelector("button").focus()
  }, [asked])
  useEffect(() => {
    const outside = (event) => { if (!box.current?.contains(event.target)) close() }
    addEventListener("pointerdown", outside, true)
    return () => removeEventListener("pointerdown", outside, true)
  }, [])
  const keyed = (event) => {
    const all = [...box.current.querySelectorAll("button")], at = all.indexOf(document.activeElement)
    if (event.key == "Escape") close()
    else if (event.key == "ArrowDown") all[(at + 1) % all.length].focus()
    else if (event.key == "ArrowUp") all[(at + all.length - 1) % all.length].focus()
    else return
    event.preventDefault()
  }
  return html`<div class="menu" role="menu" ref=${box} onKeyDown=${keyed} aria-label=${`Actions for ${several(runs)}`}>
    ${items_for(runs, actions, ask).map(([name, go]) => html`<button role="menuitem" key=${name} onClick=${() => { close(); go() }}>${name}</button>`)}
    <div class="colors" role="group" aria-label="Colour">${COLORS.map((color) => html`<button key=${color} class="color" style=${{background: color}} aria-label=${`Colour ${color}`}
      onClick=${() => { close(); actions.patch(runs, {set: {color}}) }}></button>`)}</div>
  </div>`
}
