// The shell's program: the bar on top, the run list, and the page in its frame.
import {PATH, read} from "./address.js"
import {ask} from "./api.js"
import {Toasts} from "./actions.js"
import {Bar} from "./bar.js"
import {DiagnosisPanel} from "./diagnosis.js"
import {Home} from "./home.js"
import {RunsPanel} from "./list.js"
import {PastBar} from "./past.js"
import {RunList} from "./runs.js"
import {Viewer} from "./viewer.js"
import * as address from "./address.js"
import {html, kept, render, Store, useEffect, useRef, useState, useStore} from "./ui.js"

const is_embedded = (() => { try { return top.location.origin != location.origin } catch { return true } })()

const WIDE_PX = 1200, PHONE_PX = 700
const site = new Store({pages: [], endpoint: "", may_write: false, trouble: null})

const load_site = async () => {
  try {
    const [{pages, endpoint}, {write}] = await Promise.all([ask("pages"), ask("may")])
    // In a frame of another site, a click may be meant for what lies under it.
    site.set({pages, endpoint, may_write: write && !is_embedded, trouble: null})
  } catch (error) {
    site.set({trouble: error.message})
    await new Promise((go) => setTimeout(go, 1000))
    return load_site()
  }
}

// The list of the runs of the app that the page shows, once that is known. It is followed when it is folded away, too.
const Side = ({viewer, is_open, fold}) => {
  useStore(viewer)
  useStore(site)
  const app = viewer.shown?.app ?? viewer.app ?? viewer.page?.app, list = useRef(null)
  useEffect(() => { list.current?.show_app(app) }, [app])
  useEffect(() => { list.current?.look(is_open) }, [is_open])
  useEffect(() => { if (list.current != null && list.current.group != viewer.group) list.current.arrange({group: viewer.group}) }, [viewer.group])
  if (list.current == null && app != null) {
    list.current = new RunList(app, {is_shown: is_open})
    list.current.listen(() => {
      viewer.regroup()
      viewer.learn(list.current)
    })
  }
  if (!is_open) return null
  const href = (run) => address.shell_address(viewer.path, [["app", run.app], ["run", run.run]])
  const open_run = (run) => {
    viewer.show([run.run])
    // On a phone the list covers the page.
    if (innerWidth <= PHONE_PX) fold()
  }
  return html`<aside class="side">${list.current && html`<${RunsPanel} list=${list.current} site=${site} chosen=${new Set(viewer.runs)} shown=${viewer.shown_colors}
    href=${href} choose=${(ids, is_chosen) => viewer.choose(ids, is_chosen)} open=${open_run} clear=${() => viewer.pin(false)}
    follows=${!viewer.is_pinned} show_all=${(where) => viewer.show([], where)} />`}</aside>`
}

const Page = ({viewer}) => {
  const host = useRef(null), [is_open, open] = useState((kept.get("list-open") ?? (innerWidth >= WIDE_PX ? "1" : "0")) == "1")
  const [has_past, show_past] = useState(viewer.at != null || kept.get("past-open") == "1")
  const [has_diagnosis, diagnose] = useState(false)
  useEffect(() => { viewer.begin(host.current) }, [])
  const toggle = () => { kept.set("list-open", is_open ? "0" : "1"); open(!is_open) }
  const toggle_past = () => {
    kept.set("past-open", has_past ? "0" : "1")
    show_past(!has_past)
    if (has_past) viewer.seek(null)
  }
  return html`<div class="shell">
    <${Bar} site=${site} viewer=${viewer} is_open=${is_open} toggle=${toggle} has_past=${has_past} toggle_past=${toggle_past}
      has_diagnosis=${has_diagnosis} toggle_diagnosis=${() => diagnose(!has_diagnosis)} />
    <div class="beside"><${Side} viewer=${viewer} is_open=${is_open} fold=${() => open(false)} /><div class="panes" ref=${host}></div></div>
    ${has_diagnosis && html`<${DiagnosisPanel} viewer=${viewer} close=${() => diagnose(false)} />`}
    ${has_past && html`<${PastBar} viewer=${viewer} />`}
    <${Toasts} />
  </div>`
}

site.loaded = load_site()
const body = document.createElement("div")
body.id = "shell"
document.body.append(body)
if (PATH) {
  const viewer = new Viewer(PATH, site)
  addEventListener("popstate", () => viewer.read_address())
  window.streamvisShell = {viewer}
  render(html`<${Page} viewer=${viewer} />`, body)
} else {
  const list = new RunList(address.read().app)
  addEventListener("popstate", () => list.show_app(address.read().app))
  render(html`<${Home} site=${site} list=${list} />`, body)
}
