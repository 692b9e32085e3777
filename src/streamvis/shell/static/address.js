// The address of the shell: which page, which runs, and how the run list is arranged (`list.*`). All else in it is the page's own.
import {address_of} from "./api.js"

export const PATH = document.documentElement.dataset.path
const LIST = "list."
const OWN = ["token"]

const step_of = (text) => text == null || !/^\d+$/.test(text) ? null : Number(text)

export const read = () => {
  const said = new URLSearchParams(location.search), list = {}
  for (const [name, value] of said) if (name.startsWith(LIST)) list[name.slice(LIST.length)] = value
  return {app: said.get("app"), runs: said.getAll("run").filter(Boolean), where: said.get("where"), group: said.get("group"), stat: said.get("stat"),
    follow: said.get("follow"), at: step_of(said.get("at")), list}
}

// The part of the query that pages get: everything but what arranges the list.
export const page_query = () => {
  const said = new URLSearchParams(location.search)
  for (const name of [...said.keys()]) if (name.startsWith(LIST) || OWN.includes(name)) said.delete(name)
  return said
}

const write = (said, as_step) => {
  const url = new URL(location.href)
  url.search = said.toString()
  if (url.href == location.href) return
  try { history[as_step ? "pushState" : "replaceState"](history.state, "", url) } catch { /* a frame without a history */ }
}

// Changes parameters: null takes one out, a list sets it several times.
export const change = (values, {as_step = false} = {}) => {
  const said = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(values)) {
    said.delete(name)
    for (const one of Array.isArray(value) ? value : [value]) if (one != null && one !== "") said.append(name, one)
  }
  write(said, as_step)
}
export const change_list = (values) =>
  change(Object.fromEntries(Object.entries(values).map(([name, value]) => [LIST + name, value])))

// Takes over what a page has put into its own address.
const SHELLS = ["app", "run", "where", "group", "at", "stat", "follow"]
export const adopt = (search) => {
  const theirs = new URLSearchParams(search), said = new URLSearchParams(location.search)
  for (const name of [...said.keys()]) if (!name.startsWith(LIST) && !SHELLS.includes(name) && !theirs.has(name)) said.delete(name)
  for (const name of new Set(theirs.keys())) {
    if (SHELLS.includes(name)) continue
    said.delete(name)
    for (const value of theirs.getAll(name)) said.append(name, value)
  }
  write(said, false)
}

export const view_address = (path, query) => {
  const url = address_of(`/view${path}`)
  url.search = query.toString()
  return url
}
export const shell_address = (path, query) => {
  const url = address_of(path || "/")
  url.search = new URLSearchParams(query).toString()
  return url
}
