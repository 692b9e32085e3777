// The shell's program: the bar on top, the run list, and the page in its frame.
import {PATH, read} from "./address.js"
import {ask} from "./api.js"
import {Bar} from "./bar.js"
import {Home} from "./home.js"
import {Viewer} from "./viewer.js"
import {html, render, Store, useEffect, useRef} from "./ui.js"

const is_embedded = (() => { try { return top.location.origin != location.origin } catch { return true } })()

export const site = new Store({pages: [], endpoint: "", may_write: false, trouble: null})

const load_site = async () => {
  try {
    const [{pages, endpoint}, {write}] = await Promise.all([ask("pages"), ask("may")])
    // In a frame of another site, a click may be meant for what lies under it.
    site.set({pages, endpoint, may_write: write && !is_embedded, trouble: null})
  } catch (error) {
    site.set({trouble: error.message})
    setTimeout(load_site, 1000)
  }
}

const Page = ({viewer}) => {
  const host = useRef(null)
  useEffect(() => { viewer.begin(host.current) }, [])
  return html`<div class="shell">
    <${Bar} site=${site} viewer=${viewer} />
    <div class="beside"><div class="panes" ref=${host}></div></div>
  </div>`
}

load_site()
const body = document.createElement("div")
body.id = "shell"
document.body.append(body)
if (PATH) {
  const viewer = new Viewer(PATH, site)
  addEventListener("popstate", () => viewer.read_address())
  window.streamvisShell = {viewer}
  render(html`<${Page} viewer=${viewer} />`, body)
} else {
  render(html`<${Home} site=${site} />`, body)
}
