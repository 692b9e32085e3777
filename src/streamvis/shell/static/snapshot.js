// The button that saves the page as one file, with moments of its runs' past in it.
import {say} from "./actions.js"
import {page_query} from "./address.js"
import {address_of} from "./api.js"
import {Icon} from "./icons.js"
import {html, useState} from "./ui.js"

const LONG_MS = 3000
// What the runs and the step that are shown follow from.
const CHOSEN = ["app", "run", "where", "follow", "at"]

const save = async (viewer) => {
  const url = address_of("/shell/snapshot"), runs = viewer.shown?.runs ?? []
  url.searchParams.set("page", viewer.path)
  for (const {id} of runs) url.searchParams.append("run", id)
  const query = page_query()
  for (const name of CHOSEN) query.delete(name)
  url.searchParams.set("query", query.toString())
  if (viewer.at != null) url.searchParams.set("at", viewer.at)
  const answer = await fetch(url, {cache: "no-store"}).catch(() => { throw new Error("The page server does not answer.") })
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? `The page server answers ${answer.status}.`)
  const name = `${viewer.page?.name ?? "page"} ${runs.map(({name}) => name).slice(0, 3).join(", ")}`.replace(/[^\p{L}\p{N} .,_-]+/gu, "_")
  const link = document.createElement("a")
  link.href = URL.createObjectURL(await answer.blob())
  link.download = `${name.slice(0, 100)}.html`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60000)
}

export const SnapshotButton = ({viewer}) => {
  const [is_busy, be_busy] = useState(false), has_runs = (viewer.shown?.runs ?? []).length > 0
  const go = async () => {
    be_busy(true)
    const timer = setTimeout(() => say("The page is being opened at moments of its past. This can take a minute."), LONG_MS)
    try { await save(viewer) } catch (error) { say(`No snapshot: ${error.message}`, {is_error: true}) }
    clearTimeout(timer)
    be_busy(false)
  }
  return html`<button class="icon rare" disabled=${is_busy || !has_runs} aria-busy=${is_busy} onClick=${go} title="Save this page as one HTML file"
    aria-label="Save as a file"><${Icon} name="save" /></button>`
}
