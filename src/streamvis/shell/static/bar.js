// The bar over a page: where one is, what is shown and how new it is, a newer run on offer, other pages, light or dark.
import * as address from "./address.js"
import {AlertMark} from "./alerts.js"
import {Icon} from "./icons.js"
import {SnapshotButton} from "./snapshot.js"
import {switch_theme} from "./theme.js"
import {duration, html, useClock, useStore} from "./ui.js"

const MOST_NAMED = 4

export const Dot = ({color}) => html`<span class="dot" style=${{background: color || "var(--muted)"}}></span>`

export const ThemeButton = () =>
  html`<button class="icon" onClick=${switch_theme} title="Switch between light and dark" aria-label="Switch between light and dark"><${Icon} name="theme" /></button>`

// How the data are: the state of the runs, and how long ago their producers were last heard of.
const State = ({shown}) => {
  useClock(1000)
  const {runs} = shown, states = new Set(runs.map(({state}) => state))
  const state = states.size == 1 ? [...states][0] : states.has("running") ? "running" : "ended"
  const heard = Math.max(...runs.map(({heard}) => heard))
  const age = heard > 0 ? Date.now() / 1000 - shown.behind - heard : null
  const told = age == null ? "" : age < 2 && state == "running" ? "live" : `${duration(age)} ago`
  return html`<span class="state ${state}" title="State, and when its producers were last heard of">${state}</span><span class="age">${told}</span>`
}

// Which runs the page shows, and from when on others.
const Follow = ({viewer}) => {
  const chosen = viewer.where != null ? "filter" : viewer.runs.length > 0 ? "pinned" : viewer.is_pinned ? "groups" : viewer.follows
  const option = (value, label) => html`<option value=${value}>${label}</option>`
  return html`<select class="follow ${viewer.is_pinned ? "pinned" : ""}" aria-label="Runs that are shown" value=${chosen} onChange=${(event) => viewer.follow_on(event.target.value)}
    title="Which runs this page shows: the newest run of the app, the oldest that is running, or those that are shown now">
    ${chosen == "filter" && option("filter", "Filter")}${chosen == "groups" && option("groups", "Groups")}
    ${option("newest", "Newest run")}${option("oldest", "Oldest running")}${option("pinned", "Pinned")}</select>`
}

export const Bar = ({site, viewer, is_open, toggle, has_past, toggle_past, has_diagnosis, toggle_diagnosis}) => {
  useStore(site)
  useStore(viewer)
  const {shown, offer, path} = viewer, runs = shown?.runs ?? [], here = site.pages.find((page) => page.path == path)
  const go = (event) => { location.href = address.shell_address(event.target.value, address.page_query()) }
  return html`<header class="bar">
    <button class="icon" aria-expanded=${is_open} onClick=${toggle} title="Runs" aria-label="Runs"><${Icon} name="list" /></button>
    <a class="home" href=${address.shell_address("/", [])} title="All runs">Streamvis</a>
    <select class="page" aria-label="Page" value=${path} onChange=${go}>
      ${here == null && html`<option value=${path}>${decodeURIComponent(path.slice(1))}</option>`}
      ${site.pages.map((page) => html`<option value=${page.path}>${page.name}</option>`)}
    </select>
    ${shown?.app && html`<span class="app" title="App">${shown.app}</span>`}
    <span class="names">
      ${runs.slice(0, MOST_NAMED).map((run) => html`<span class="run" title=${run.id} key=${run.id}><${Dot} color=${run.color} />${run.name}</span>`)}
      ${runs.length > MOST_NAMED && html`<span class="muted">and ${runs.length - MOST_NAMED} more</span>`}
    </span>
    ${runs.length > 0 && html`<${State} shown=${shown} />`}
    ${(shown == null || viewer.panes.some(({is_loading}) => is_loading)) && html`<span class="muted" role="status">Loading …</span>`}
    ${runs.length > 0 && html`<${Follow} viewer=${viewer} />`}
    ${viewer.left_out > 0 && html`<span class="muted">${viewer.left_out} more do not fit</span>`}
    ${offer && html`<span class="offer" role="status">New run <b>${offer.name}</b> <button onClick=${() => viewer.show_offered()}>Show</button></span>`}
    <span class="space"></span>
    ${site.trouble && html`<span class="trouble" role="status">${site.trouble}</span>`}
    <${AlertMark} runs=${runs} />
    <button class="icon" aria-expanded=${has_past} onClick=${toggle_past} title="The past: show the page as of a step" aria-label="The past"><${Icon} name="past" /></button>
    <button class="icon rare" aria-expanded=${has_diagnosis} onClick=${toggle_diagnosis} title="Diagnosis: what this page costs and lacks" aria-label="Diagnosis"><${Icon} name="diagnosis" /></button>
    <${SnapshotButton} viewer=${viewer} />
    <a class="icon" href=${viewer.view_url} target="_blank" rel="noopener" title="Open the page alone, in a new tab" aria-label="The page alone"><${Icon} name="alone" /></a>
    <${ThemeButton} />
  </header>`
}
