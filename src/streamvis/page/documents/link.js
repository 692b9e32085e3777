// The browser's end of a session's link (see link.py). Runs once, when the document is ready, as the body of a CustomJS whose
// argument `link` is the model. It owns the notices over the page, the echo, reloading, and what the shell around the page is told;
// it touches nothing else. carry.js follows it in the same function.
const STALE_AFTER_MS = 45000, PROBE_EVERY_MS = 1000, PROBE_TIMEOUT_MS = 5000, REST_AT_MOST_MS = 3000
const state = {lost: false, heard: Date.now(), reloading: false, over: [], sought: 0, rests_until: 0,
  closed: new Set(), unfolded: new Set()}

const host = document.createElement("div")
host.id = "streamvis-notices"
const shadow = host.attachShadow({mode: "open"})
const style = document.createElement("style")
style.textContent = `
  :host { --ink: #1c2733; --paper: #ffffff; --edge: #c9d3dd; --soft: #5b6b7a; --stale: #fff4d6; --error: #ffe9e7; --bar: #2f7ed8 }
  @media (prefers-color-scheme: dark) {
    :host { --ink: #e6edf3; --paper: #161c23; --edge: #3b4652; --soft: #9fb0c0; --stale: #4a3a10; --error: #4a1d1a; --bar: #6db1ff } }
  * { box-sizing: border-box }
  section { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); border: 1px solid var(--edge) }
  h1 { font-size: 15px; margin: 0 } p { margin: .3em 0 0; color: var(--soft); overflow-wrap: anywhere }
  pre { font: 12px/1.5 ui-monospace, monospace; margin: .8em 0 0; white-space: pre-wrap; overflow-wrap: anywhere }
  .stack { position: fixed; z-index: 99999; left: 50%; top: 10px; transform: translateX(-50%); width: min(760px, calc(100vw - 20px));
    display: grid; gap: 8px; pointer-events: none }
  .stack section { border-radius: 8px; padding: 10px 16px; box-shadow: 0 4px 18px #0004; pointer-events: auto;
    max-height: 70vh; overflow: auto }
  .close { float: right; position: sticky; top: 0; width: 24px; height: 24px; margin: -2px -8px 0 8px; padding: 0; border: 0;
    border-radius: 6px; font: 18px/1 system-ui, sans-serif; color: inherit; background: transparent; cursor: pointer }
  .close:hover { background: #8884 } .close:focus-visible, summary:focus-visible { outline: 2px solid var(--bar) }
  summary { margin-top: .3em; cursor: pointer; width: fit-content }
  .stale { background: var(--stale) } .stale p, .error p { color: inherit } .error { background: var(--error) }
  .corner { position: fixed; z-index: 99998; right: 10px; bottom: 10px; display: grid; gap: 6px; max-width: min(420px, 60vw);
    pointer-events: none }
  .corner section { border-radius: 6px; padding: 5px 10px; font-size: 12px; opacity: .94 } .corner h1 { font-size: 12px; font-weight: 600 }
  .waiting { position: fixed; inset: 0; z-index: 99997; border: 0; display: grid; place-content: center; text-align: center; padding: 24px }
  .waiting h1 { font-size: 20px; font-weight: 600 } .waiting p { font-size: 15px; max-width: 640px }
  .waiting::before { content: ""; width: 26px; height: 26px; margin: 0 auto 18px; border-radius: 50%; border: 3px solid var(--edge);
    border-top-color: var(--bar); animation: turn 1s linear infinite }
  @keyframes turn { to { transform: rotate(360deg) } }
  @media (prefers-reduced-motion: reduce) { .waiting::before { animation: none } }`
shadow.append(style)
document.body.append(host)

const element = (tag, text, kind) => {
  const made = document.createElement(tag)
  if (text != null) made.textContent = text
  if (kind != null) made.className = kind
  return made
}

const name_of = ({title, detail}) => JSON.stringify([title, detail])
const closer = (notice) => {
  const button = element("button", "×", "close")
  button.setAttribute("aria-label", "Close this notice")
  button.title = "Close"
  button.dataset.of = name_of(notice)
  button.onclick = () => { state.closed.add(name_of(notice)); show() }
  return button
}
// The rest of the page continues, and is worth more room than a traceback: that is shown when a viewer asks for it.
const folded = (notice) => {
  const details = element("details")
  details.open = state.unfolded.has(name_of(notice))
  details.ontoggle = () => state.unfolded[details.open ? "add" : "delete"](name_of(notice))
  const summary = element("summary", "Traceback")
  summary.dataset.of = name_of(notice)
  details.append(summary, element("pre", notice.detail))
  return details
}

const show = () => {
  const notices = [...state.over, ...JSON.parse(link.notices)]
  if (state.lost) notices.unshift({kind: "stale", title: "Out of date: no connection to the page server",
    text: `Since ${new Date(state.lost).toLocaleTimeString()}. The page reloads as soon as the server answers.`})
  // What went and comes again is shown again.
  const named = new Set(notices.map(name_of))
  for (const names of [state.closed, state.unfolded]) for (const name of names) if (!named.has(name)) names.delete(name)
  const stack = element("div", null, "stack"), corner = element("div", null, "corner"), whole = []
  for (const notice of notices) {
    const {kind, title, text, detail, closes} = notice
    if (closes && state.closed.has(name_of(notice))) continue
    const section = element("section", null, kind)
    section.setAttribute("role", kind == "error" ? "alert" : "status")
    if (closes) section.append(closer(notice))
    section.append(element("h1", title))
    if (text) section.append(element("p", text))
    if (detail) section.append(closes ? folded(notice) : element("pre", detail))
    if (kind == "waiting") whole.push(section)
    else (["slow", "reading", "vanished"].includes(kind) ? corner : stack).append(section)
  }
  // Who is at a control of a notice that stays, is there still.
  const at = shadow.activeElement
  shadow.replaceChildren(style, ...whole, stack, corner)
  if (at != null) [...shadow.querySelectorAll(at.localName)].find(({dataset}) => dataset.of == at.dataset.of)?.focus()
}

// How often this tab reloaded in the last seconds. Storage may be missing, refused (in frames of other sites) or full: then the page
// reloads at the slow pace.
const count_reload = () => {
  try {
    const now = Date.now(), recent = JSON.parse(sessionStorage.getItem("streamvis-reloads") ?? "[]").filter((t) => now - t < 20000)
    sessionStorage.setItem("streamvis-reloads", JSON.stringify([...recent, now]))
    return recent.length
  } catch {
    return Infinity
  }
}
// The shell, where it is around the page: it loads a page again beside this one, and swaps the two.
const shell = (() => {
  try { return parent != window && parent.document.documentElement.dataset.streamvisShell != null ? parent : null } catch { return null }
})()
const tell = (streamvis, more) => shell?.postMessage({streamvis, ...more}, location.origin)
const reload = () => {
  if (shell != null) {
    state.reloading = true
    return tell("reload")
  }
  // A page that would reload again and again slows down instead of hammering the server.
  if (state.reloading) return
  state.reloading = true
  setTimeout(load_again, count_reload() < 5 ? 0 : 3000)
}
// Without a shell: what a person set is kept for the next load of this address, where the browser keeps anything.
const load_again = () => {
  try { sessionStorage.setItem("streamvis-carried", JSON.stringify({href: location.href, carried: window.streamvis.carry()})) } catch { /* it is lost */ }
  location.reload()
}
const take_carried = () => {
  try {
    const {href, carried} = JSON.parse(sessionStorage.getItem("streamvis-carried"))
    sessionStorage.removeItem("streamvis-carried")
    if (href == location.href) window.streamvis.restore(carried)
  } catch { /* there is nothing */ }
}
const reload_when_seen = () => {
  if (!document.hidden || shell != null) reload()
  else document.addEventListener("visibilitychange", reload_when_seen, {once: true})
}

const echo = () => requestAnimationFrame(() => setTimeout(() => { if (Date.now() >= state.rests_until) link.seen = link.sent }, 0))
// While the shell loads the page again beside this one, this one gets no updates: both would wait for the same processor.
const rest = (is_resting) => {
  clearTimeout(state.waking)
  state.rests_until = is_resting ? Date.now() + REST_AT_MOST_MS : 0
  if (is_resting) state.waking = setTimeout(() => rest(false), REST_AT_MOST_MS)
  else echo()
}

const probe_url = document.querySelector("script[src*='bokeh']")?.src ?? location.href
const probe = async () => {
  if (!state.lost || state.reloading) return
  const abort = new AbortController(), timer = setTimeout(() => abort.abort(), PROBE_TIMEOUT_MS)
  try {
    const answer = await fetch(probe_url, {method: "HEAD", cache: "no-store", signal: abort.signal})
    // 401: it is there, and asks for another token than this browser has.
    if (answer.ok || answer.status == 401) return reload()
  } catch { /* not there yet */ } finally { clearTimeout(timer) }
  setTimeout(probe, PROBE_EVERY_MS)
}
const lost = () => {
  if (state.lost || state.reloading) return
  state.lost = state.heard = Date.now()
  show()
  probe()
}

const heard = () => { state.heard = Date.now() }
setInterval(() => { if (!document.hidden && Date.now() - state.heard > STALE_AFTER_MS) lost() }, 5000)
document.addEventListener("visibilitychange", () => { if (!document.hidden) heard() })
addEventListener("beforeunload", () => { state.reloading = true })

// Files of the page were saved. The shell tries the new version; without one it is tried here, in a frame that no one sees.
const edited = () => {
  if (shell != null) return tell("edited")
  if (failed().length > 0) return load_again()
  state.trial?.remove()
  const frame = state.trial = document.createElement("iframe")
  frame.style.cssText = "position:fixed;inset:0;width:100%;height:100%;border:0;opacity:0;pointer-events:none;z-index:-1"
  frame.inert = true
  frame.src = location.href
  document.documentElement.dataset.streamvisShell = "trial"
  document.body.append(frame)
  rest(true)
}
const tried = ({source, data}) => {
  if (source != state.trial?.contentWindow || data?.streamvis != "painted") return
  state.trial.remove()
  state.trial = null
  rest(false)
  if (data.failed.length > 0) show_over(data.failed)
  else load_again()
}
// Why the page's new version is not shown, over the old one.
const show_over = (notices) => {
  state.over = notices.map((notice) => ({...notice, text: notice.instead}))
  show()
}
const failed = () => JSON.parse(link.notices).filter(({instead}) => instead)
const say_failed = () => {
  if (state.failed || failed().length == 0) return
  state.failed = true
  tell("failed", {})
}

// A page is ready to be shown when it has all of the past, or says why it has not.
const settled = () => {
  const says = JSON.parse(link.notices).some(({kind}) => kind == "error" || kind == "waiting")
  if (state.settled || !(link.settled || says)) return
  state.settled = true
  requestAnimationFrame(() => setTimeout(() => shell == null ? take_carried() : tell("painted", {failed: failed()}), 0))
}
const touch = (event) => {
  if (!event.isTrusted || state.touched) return
  state.touched = true
  tell("touched")
}
if (shell != null) {
  link.framed = true
  document.getElementById("streamvis-theme")?.remove()
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, touch, {capture: true, passive: true})
  const replace = history.replaceState
  history.replaceState = function (...given) { replace.apply(this, given); tell("address", {search: location.search}) }
  link.properties.shown.change.connect(() => tell("shows", JSON.parse(link.shown)))
  tell("shows", JSON.parse(link.shown))
}

else addEventListener("message", tried)

// Another step in place; false where the page has to be made again for it.
const seek = (at) => {
  if (!link.seeks || !state.settled) return false
  link.wanted = JSON.stringify([++state.sought, at])
  return true
}
const sought = () => {
  const [number, is_shown] = JSON.parse(link.sought)
  if (number == state.sought) requestAnimationFrame(() => setTimeout(() => tell("sought", {is_shown}), 0))
}

// What the page costs, once the session has told it.
// A session that cannot answer never does: all who ask until then wait for the same answer.
let diagnosed = null
const diagnose = () => {
  diagnosed ??= new Promise((tell) => {
    const hear = () => { link.properties.diagnosis.change.disconnect(hear); diagnosed = null; tell(JSON.parse(link.diagnosis)) }
    link.properties.diagnosis.change.connect(hear)
  })
  link.asked += 1
  return diagnosed
}

window.streamvis = {...window.streamvis, lost, rest, show_over, seek, diagnose}
link.properties.sought.change.connect(sought)
link.properties.sent.change.connect(() => { heard(); echo() })
link.properties.beat.change.connect(heard)
link.properties.notices.change.connect(() => { heard(); show(); say_failed(); settled() })
link.properties.edited.change.connect(edited)
link.properties.reload.change.connect(reload_when_seen)
link.properties.settled.change.connect(settled)
show()
say_failed()
settled()
if (link.reload) reload_when_seen()
echo()
